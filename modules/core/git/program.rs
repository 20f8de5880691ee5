//! In: words for `git`. Out: what it said, without the credentials of addresses.

use indexmap::IndexMap;

use crate::core::host;
use crate::error::{ErrorKind, ModuleError};
use crate::platform::{CommandOutput, CommandSpec, Platform};

/// The credentials in an address, and what is shown instead.
pub(super) struct Hidden(Option<(String, String)>);

impl Hidden {
    /// Those of the repository; the password is masked in every output from now on.
    pub(super) fn of(repo: &str, platform: &Platform) -> Self {
        let server = repo.split_once("://").map(|(_, behind)| {
            let end = behind.find('/').unwrap_or(behind.len());
            behind.get(..end).unwrap_or(behind)
        });
        let Some((who, _)) = server.and_then(|server| server.rsplit_once('@')) else {
            return Self(None);
        };
        let is_ssh = repo.starts_with("ssh://") || repo.starts_with("git+ssh://");
        match who.split_once(':') {
            Some((_, password)) => platform.secrets.add(password),
            // A token alone, where no user would stand.
            None if !is_ssh => platform.secrets.add(who),
            None => return Self(None),
        }
        let shown = if who.contains(':') {
            "****:****"
        } else {
            "****"
        };
        Self(Some((format!("{who}@"), format!("{shown}@"))))
    }

    pub(super) fn mask(&self, text: &str) -> String {
        match &self.0 {
            Some((hidden, shown)) => text.replace(hidden, shown),
            None => text.to_owned(),
        }
    }
}

/// The command that git reaches SSH servers with; none when its own will do.
pub(super) fn ssh(key: Option<&str>, options: &str) -> Result<Option<String>, ModuleError> {
    if key.is_none() && options.is_empty() {
        return Ok(None);
    }
    // It must not ask: nobody would answer.
    let mut command = "ssh -o BatchMode=yes".to_owned();
    if let Some(key) = key {
        let quoted = shlex::try_quote(key).map_err(|problem| {
            ModuleError::argument("key_file", format!("`{key}` cannot be quoted: {problem}"))
        })?;
        command.push_str(&format!(" -i {quoted} -o IdentitiesOnly=yes"));
    }
    if !options.is_empty() {
        command.push(' ');
        command.push_str(options);
    }
    Ok(Some(command))
}

/// An address in the form in which two that mean the same are the same.
pub(super) fn same_form(url: &str) -> &str {
    let url = url.strip_prefix("file://").unwrap_or(url);
    let url = url.trim_end_matches('/');
    url.strip_suffix(".git").unwrap_or(url)
}

/// `git`, for one repository.
pub(super) struct Git<'a> {
    pub(super) platform: &'a Platform,
    pub(super) hidden: Hidden,
    pub(super) program: String,
    pub(super) repo: String,
    /// The folder of the working tree.
    pub(super) dest: Option<String>,
    pub(super) ssh: Option<String>,
    pub(super) umask: Option<String>,
}

impl Git<'_> {
    async fn call(&self, words: &[&str], inside: bool) -> Result<CommandOutput, ModuleError> {
        let mut argv = vec![self.program.clone()];
        if let Some(dest) = self.dest.as_ref().filter(|_| inside) {
            // Git goes there itself: with another user's rights than those of this process.
            argv.extend(["-C".to_owned(), dest.clone()]);
        }
        argv.extend(words.iter().map(ToString::to_string));
        if let Some(umask) = &self.umask {
            let mut shell = [
                "/bin/sh",
                "-c",
                "umask \"$1\"; shift; exec \"$@\"",
                "sh",
                umask,
            ]
            .map(str::to_owned)
            .to_vec();
            shell.append(&mut argv);
            argv = shell;
        }
        let mut environment = IndexMap::from_iter([
            ("LC_ALL".to_owned(), "C".to_owned()),
            // It must not ask: nobody would answer.
            ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
        ]);
        if let Some(ssh) = &self.ssh {
            environment.insert("GIT_SSH_COMMAND".to_owned(), ssh.clone());
        }
        self.platform
            .shell()?
            .run(CommandSpec {
                argv,
                environment,
                ..CommandSpec::default()
            })
            .await
    }

    fn text(&self, bytes: &[u8]) -> String {
        self.hidden.mask(&String::from_utf8_lossy(bytes))
    }

    fn failed(&self, words: &[&str], output: &CommandOutput) -> ModuleError {
        let said = self.text(&output.stderr);
        let what = words.first().copied().unwrap_or_default();
        let error = ModuleError::failed(format!("`git {what}` failed: {}", said.trim()))
            .with("rc", output.rc)
            .with("stdout", self.text(&output.stdout))
            .with("stderr", said.clone());
        if said.contains("Host key verification failed") {
            error.hint("the host does not know the server: `accept_newhostkey: true` takes its key")
        } else if said.contains("could not read Username") || said.contains("Authentication failed")
        {
            error.hint("the server wants a login: use SSH with `key_file`, or a credential helper of the host")
        } else if said.contains("dubious ownership") {
            error.hint("the folder belongs to another user: use `become_user`, or tell git with `safe.directory`")
        } else {
            error
        }
    }

    /// Runs it in the folder; what it prints.
    pub(super) async fn run(&self, words: &[&str]) -> Result<String, ModuleError> {
        let output = self.call(words, true).await?;
        if output.rc != 0 {
            return Err(self.failed(words, &output));
        }
        Ok(self.text(&output.stdout))
    }

    /// Runs it where no repository is needed.
    pub(super) async fn outside(&self, words: &[&str]) -> Result<String, ModuleError> {
        let output = self.call(words, false).await?;
        if output.rc != 0 {
            return Err(self.failed(words, &output));
        }
        Ok(self.text(&output.stdout))
    }

    /// What it prints, unless it fails.
    pub(super) async fn try_run(&self, words: &[&str]) -> Result<Option<String>, ModuleError> {
        let output = self.call(words, true).await?;
        Ok((output.rc == 0).then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    pub(super) async fn succeeds(&self, words: &[&str]) -> Result<bool, ModuleError> {
        Ok(self.call(words, true).await?.rc == 0)
    }

    /// The commit that is checked out; none in a repository without commits.
    pub(super) async fn commit(&self) -> Result<Option<String>, ModuleError> {
        let output = self.call(&["rev-parse", "--verify", "HEAD"], true).await?;
        if output.rc == 0 {
            return Ok(Some(self.text(&output.stdout).trim().to_owned()));
        }
        if self
            .text(&output.stderr)
            .contains("Needed a single revision")
        {
            return Ok(None);
        }
        Err(self.failed(&["rev-parse"], &output))
    }

    /// The commit that a version is, when it is there.
    pub(super) async fn resolve(&self, version: &str) -> Result<Option<String>, ModuleError> {
        let name = format!("{version}^{{commit}}");
        let found = self
            .try_run(&["rev-parse", "--verify", "--quiet", &name])
            .await?;
        Ok(found.map(|text| text.trim().to_owned()))
    }

    /// Whether files of the repository were changed; others do not matter.
    pub(super) async fn has_changes(&self) -> Result<bool, ModuleError> {
        let status = self.run(&["status", "--porcelain"]).await?;
        Ok(status.lines().any(|line| !line.starts_with("??")))
    }

    pub(super) async fn remote_url(&self, remote: &str) -> Result<Option<String>, ModuleError> {
        let key = format!("remote.{remote}.url");
        let url = self.try_run(&["config", "--get", &key]).await?;
        Ok(url.map(|url| url.trim_end_matches('\n').to_owned()))
    }

    pub(super) async fn set_remote_url(&self, remote: &str) -> Result<(), ModuleError> {
        let known = self.remote_url(remote).await?;
        let words = match known {
            Some(url) if url == self.repo => return Ok(()),
            Some(_) => ["remote", "set-url", "--", remote, &self.repo],
            None => ["remote", "add", "--", remote, &self.repo],
        };
        self.run(&words).await.map(|_| ())
    }

    pub(super) async fn has_submodules(&self) -> Result<bool, ModuleError> {
        let dest = self.dest.as_deref().unwrap_or(".");
        let path = host::join(dest, ".gitmodules");
        let looks = host::look(self.platform, std::slice::from_ref(&path), None).await?;
        Ok(looks.at(&path)?.behind().is_some())
    }

    /// Makes the folders above a new clone.
    pub(super) async fn make_parent(&self, path: &str) -> Result<(), ModuleError> {
        let words = [path.to_owned(), self.umask.clone().unwrap_or_default()];
        let script = r#"if [ -n "$2" ]; then umask "$2"; fi; mkdir -p -- "$1""#;
        let output = host::script(self.platform, script, &words, None).await?;
        if output.rc == 0 {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(ModuleError::new(
            ErrorKind::Forbidden,
            format!("the folder `{path}` cannot be made: {said}"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::host::testing::here;
    use crate::core::http::masked;

    #[test]
    fn credentials_are_hidden_and_names_of_ssh_are_not() {
        let platform = here();
        let mask = |repo: &str| Hidden::of(repo, &platform).mask(&format!("fatal: {repo} x"));
        assert_eq!(
            mask("https://u:pass-word@h/r"),
            "fatal: https://****:****@h/r x"
        );
        assert_eq!(mask("https://token-1@h/r"), "fatal: https://****@h/r x");
        assert_eq!(mask("ssh://git@h/r"), "fatal: ssh://git@h/r x");
        assert_eq!(mask("git@h:r"), "fatal: git@h:r x");
        assert_eq!(
            platform.secrets.mask("pass-word token-1"),
            "******** ********"
        );
        assert_eq!(masked("https://u:pass-word@h/r"), "https://****:****@h/r");
    }

    #[test]
    fn ssh_gets_its_key_and_never_asks() {
        assert_eq!(ssh(None, "").unwrap(), None);
        assert_eq!(
            ssh(Some("/a b"), "-o X=y").unwrap().unwrap(),
            "ssh -o BatchMode=yes -i '/a b' -o IdentitiesOnly=yes -o X=y"
        );
        assert_eq!(same_form("file:///a/b.git/"), same_form("/a/b"));
        assert_ne!(same_form("https://a/b"), same_form("https://a/c"));
    }
}
