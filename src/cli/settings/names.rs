//! In: an entry of a settings file. Out: a warning where its name is nearly, or elsewhere, one of Ansible's. Other names
//! are let be: plugins bring their own.

use super::{EFFECTIVE, Entry};
use crate::diagnostic::nearest::nearest;
use crate::diagnostic::{Code, Diagnostic};

/// Names of ansible-core 2.19 by section, with those that older files still have.
const KNOWN: &[(&str, &str)] = &[
    (
        "connection",
        "pipelining retries ssh_agent ssh_agent_executable ssh_agent_key_lifetime",
    ),
    (
        "defaults",
        "action_plugins action_warnings admin_users allow_broken_conditionals allow_embedded_templates \
         allow_unsafe_lookups allow_world_readable_tmpfiles ansible_managed any_errors_fatal ask_pass \
         ask_vault_pass async_dir become_password_file become_plugins bin_ansible_callbacks cache_plugins \
         callback_format_pretty callback_plugins callback_result_format callback_whitelist callbacks_enabled \
         check_mode_markers cliconf_plugins collections_on_ansible_version_mismatch collections_path \
         collections_scan_sys_path command_warnings common_remote_group connection_password_file \
         connection_plugins cow_selection cowpath cowsay_enabled_stencils debug deprecation_warnings \
         devel_warning display_args_to_stdout display_failed_stderr display_ok_hosts display_skipped_hosts \
         display_traceback doc_fragment_plugins docsite_root_url duplicate_dict_key editor \
         enable_task_debugger error_on_missing_handler error_on_undefined_vars executable fact_caching \
         fact_caching_connection fact_caching_prefix fact_caching_timeout facts_modules filter_plugins \
         force_color force_handlers force_valid_group_names forks gather_subset gather_timeout gathering \
         hash_behaviour home host_key_checking hostfile httpapi_plugins inject_facts_as_vars \
         internal_poll_interval interpreter_python invalid_task_attribute_failed inventory \
         inventory_ignore_extensions inventory_ignore_patterns inventory_plugins jinja2_extensions \
         jinja2_native keep_remote_files library local_tmp localhost_warning log_filter log_path \
         log_verbosity lookup_plugins max_diff_size module_args module_compression module_ignore_exts \
         module_name module_strict_utf8_response module_utils netconf_plugins network_group_modules no_log \
         no_target_syslog nocolor nocows null_representation old_plugin_cache_clear pager pipelining \
         playbook_dir playbook_vars_root plugin_filters_cfg poll_interval precedence private_key_file \
         private_role_vars python_module_rlimit_nofile remote_port remote_tmp remote_user retries \
         retry_files_enabled retry_files_save_path roles_path run_vars_plugins show_custom_stats \
         show_per_host_start show_task_path_on_failure stdout_callback strategy strategy_plugins sudo_user \
         syslog_facility system_tmpdirs system_warnings target_log_info task_debugger_ignore_errors \
         task_timeout terminal_plugins test_plugins timeout transport use_persistent_connections \
         validate_action_group_metadata vars_plugins vars_plugins_enabled vault_encrypt_identity \
         vault_encrypt_salt vault_id_match vault_identity vault_identity_list vault_password_file \
         verbose_to_stderr verbosity win_async_startup_timeout yaml_valid_extensions",
    ),
    ("diff", "always context"),
    (
        "inventory",
        "any_unparsed_is_failed cache cache_connection cache_plugin cache_prefix cache_timeout enable_plugins \
         export host_pattern_mismatch ignore_extensions ignore_patterns inventory_unparsed_warning \
         unparsed_is_failed",
    ),
    ("inventory_plugins", "use_extra_vars"),
    (
        "privilege_escalation",
        "agnostic_become_prompt become become_allow_same_user become_ask_pass become_exe become_flags \
         become_method become_user",
    ),
    (
        "selinux",
        "libvirt_lxc_noseclabel special_context_filesystems",
    ),
    (
        "ssh_connection",
        "control_path control_path_dir host_key_checking password_mechanism pipelining pkcs11_provider \
         retries scp_executable scp_extra_args sftp_batch_mode sftp_executable sftp_extra_args ssh_args \
         ssh_common_args ssh_executable ssh_extra_args sshpass_prompt timeout transfer_method usetty \
         verbosity",
    ),
    (
        "su_become_plugin",
        "executable flags localized_prompts password user",
    ),
    ("sudo_become_plugin", "chdir executable flags password user"),
    ("tags", "run skip"),
];

fn names(section: &str) -> impl Iterator<Item = &'static str> {
    let ansible = KNOWN
        .iter()
        .filter(move |(name, _)| *name == section)
        .flat_map(|(_, keys)| keys.split_whitespace());
    let prefix = format!("{section}.");
    let own = EFFECTIVE
        .iter()
        .filter_map(move |key| key.strip_prefix(prefix.as_str()));
    ansible.chain(own)
}

/// Warns of a name that is most likely a slip.
pub(super) fn judge(entry: &Entry) -> Option<Diagnostic> {
    let (section, key) = (entry.section.as_str(), entry.key.as_str());
    let is_known = KNOWN.iter().any(|(name, _)| *name == section);
    if !is_known {
        let sections = KNOWN.iter().map(|(name, _)| *name);
        let meant = nearest(section, sections)?;
        return Some(
            Diagnostic::warning(
                Code::SETTINGS,
                format!("`{key}` has no effect: there is no section `[{section}]`"),
            )
            .at(&entry.span, "")
            .help(format!("did you mean `[{meant}]`?")),
        );
    }
    if names(section).any(|name| name == key) {
        return None;
    }
    let elsewhere = KNOWN
        .iter()
        .map(|(name, _)| *name)
        .find(|other| names(other).any(|name| name == key));
    let help = match (elsewhere, nearest(key, names(section))) {
        (Some(other), _) => format!("it belongs into `[{other}]`"),
        (None, Some(name)) => format!("did you mean `{name}`?"),
        (None, None) => return None,
    };
    Some(
        Diagnostic::warning(
            Code::SETTINGS,
            format!("there is no setting `{key}` in `[{section}]`"),
        )
        .at(&entry.span, "")
        .help(help),
    )
}
