//! In: what an image was built with, and what the pool's configuration wants beside it. Out: packages that both bring,
//! which no node can install.

use serde_json::Value;

use super::super::diagnose::Failure;
use super::super::objects::name;
use super::{Look, Refusal, refusal};
use crate::registry::ImageInfo;

/// The packages of RHCOS' extensions (MCO: `pkg/controller/common/helpers.go` `SupportedExtensions`).
const EXTENSIONS: &[(&str, &[&str])] = &[
    ("ipsec", &["NetworkManager-libreswan", "libreswan"]),
    ("kerberos", &["krb5-workstation", "libkadm5"]),
    ("kernel-devel", &["kernel-devel", "kernel-headers"]),
    ("sandboxed-containers", &["kata-containers"]),
    ("sysstat", &["sysstat"]),
    ("two-node-ha", &["pacemaker", "pcs", "fence-agents-all"]),
    ("usbguard", &["usbguard"]),
    ("wasm", &["crun-wasm"]),
];

/// The packages of kernels that a MachineConfig can ask for.
const KERNELS: &[(&str, &[&str])] = &[
    (
        "realtime",
        &[
            "kernel-rt",
            "kernel-rt-core",
            "kernel-rt-modules",
            "kernel-rt-kvm",
        ],
    ),
    (
        "64k-pages",
        &["kernel-64k", "kernel-64k-core", "kernel-64k-modules"],
    ),
];

impl Look<'_> {
    pub(super) fn extensions(
        &self,
        info: &ImageInfo,
        refusals: &mut Vec<Refusal>,
        warnings: &mut Vec<String>,
    ) {
        let target = &self.view.pool["spec"]["configuration"]["name"];
        let rendered = self.configs.iter().find(|config| *target == name(config));
        let wanted = rendered.map(wanted).unwrap_or_default();
        if wanted.is_empty() {
            return;
        }
        let image = self.image;
        for (what, packages) in &wanted {
            let twice: Vec<&str> = packages
                .iter()
                .copied()
                .filter(|package| info.history.iter().any(|step| installs(step, package)))
                .collect();
            if !twice.is_empty() {
                refusals.push(refusal(
                    "extensions",
                    format!(
                        "`{image}` installs {}, and the configuration of pool `{}` wants {what}, too: nodes cannot have it twice",
                        twice.join(", "),
                        name(&self.view.pool)
                    ),
                    Failure::PackageConflict.remedy(),
                ));
            }
        }
        if !self.pins_extensions && !self.is_there {
            let wanted: Vec<&str> = wanted.iter().map(|(what, _)| what.as_str()).collect();
            warnings.push(format!(
                "pool `{}` uses {}: after an upgrade these come from the new release and the OS image does not; give `extensions_image`",
                name(&self.view.pool),
                wanted.join(", ")
            ));
        }
    }
}

/// What a configuration wants beside the OS image, in words, with the packages that it brings.
fn wanted(rendered: &Value) -> Vec<(String, &'static [&'static str])> {
    let known = |table: &'static [(&str, &[&str])], key: &str| {
        let row = table.iter().find(|(name, _)| *name == key);
        row.map_or(&[][..], |(_, packages)| packages)
    };
    let extensions = rendered["spec"]["extensions"].as_array();
    let extensions = extensions.into_iter().flatten().filter_map(Value::as_str);
    let mut all: Vec<_> = extensions
        .map(|key| (format!("the extension `{key}`"), known(EXTENSIONS, key)))
        .collect();
    let kernel = rendered["spec"]["kernelType"].as_str().unwrap_or_default();
    if !matches!(kernel, "" | "default") {
        all.push((
            format!("the kernel type `{kernel}`"),
            known(KERNELS, kernel),
        ));
    }
    all
}

/// Whether a step of an image's history installs a package: `dnf install usbguard`, or a file of it.
fn installs(step: &str, package: &str) -> bool {
    let mut words = step
        .split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '"' | '\'' | '(' | ')'))
        .filter(|word| !word.is_empty());
    let is_manager = |word: &str| {
        let program = word.rsplit('/').next().unwrap_or(word);
        matches!(program, "dnf" | "yum" | "microdnf" | "rpm-ostree" | "rpm")
    };
    if !words.any(is_manager) {
        return false;
    }
    let is_it = |word: &str| {
        let file = word.rsplit('/').next().unwrap_or(word);
        // `usbguard`, `usbguard-1.0-2.el9.x86_64.rpm`; not `usbguard-selinux`.
        file.strip_prefix(package).is_some_and(|rest| {
            rest.is_empty()
                || rest
                    .strip_prefix('-')
                    .is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    let words: Vec<&str> = words.collect();
    let installs = ["install", "override", "-i", "-U", "-ivh", "-Uvh"];
    words.iter().any(|word| installs.contains(word)) && words.iter().any(|word| is_it(word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn packages_are_found_where_they_are_installed() {
        for step in [
            "/bin/sh -c dnf install -y usbguard && dnf clean all",
            "RUN rpm-ostree install tcpdump usbguard; ostree container commit",
            "rpm -Uvh https://example.com/usbguard-1.0-2.el9.x86_64.rpm",
            "/bin/sh -c 'rpm-ostree override replace /tmp/usbguard-1.1-1.el9.x86_64.rpm'",
        ] {
            assert!(installs(step, "usbguard"), "{step}");
        }
        for step in [
            "dnf install -y usbguard-selinux",
            "dnf remove usbguard",
            "cp usbguard /usr/bin && systemctl install",
            "COPY file:usbguard in /etc",
        ] {
            assert!(!installs(step, "usbguard"), "{step}");
        }
    }

    #[test]
    fn extensions_and_kernels_are_wanted() {
        let rendered =
            json!({"spec": {"extensions": ["usbguard", "new-one"], "kernelType": "realtime"}});
        let wanted = wanted(&rendered);
        let words: Vec<&str> = wanted.iter().map(|(what, _)| what.as_str()).collect();
        assert_eq!(
            words,
            [
                "the extension `usbguard`",
                "the extension `new-one`",
                "the kernel type `realtime`"
            ]
        );
        assert!(wanted[1].1.is_empty());
        assert!(
            super::wanted(&json!({"spec": {"kernelType": "default", "extensions": []}})).is_empty()
        );
    }
}
