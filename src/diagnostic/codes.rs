//! Every code once, with what it means. A code is for ever: it is written into people's notes and searches.

/// `LP01xx` text and YAML, `LP02xx` playbook, `LP03xx` templates and variables, `LP04xx` inventory, `LP05xx` modules and
/// arguments, `LP06xx` settings and command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub &'static str);

macro_rules! codes {
    ($($name:ident = $code:literal, $meaning:literal;)*) => {
        impl Code {
            $(#[doc = $meaning] pub const $name: Code = Code($code);)*
        }
        /// Code and meaning, in order.
        pub const ALL: &[(Code, &str)] = &[$((Code::$name, $meaning)),*];
    };
}

codes! {
    UNREADABLE = "LP0101", "a file cannot be read";
    YAML_SYNTAX = "LP0102", "the text is not YAML";
    YAML_BUDGET = "LP0103", "the YAML is too deep or expands to too much";
    DUPLICATE_KEY = "LP0104", "a mapping has the same key twice; the last one wins";
    YAML_DOCUMENTS = "LP0105", "a file holds more than one YAML document";
    UNQUOTED_TEMPLATE = "LP0106", "a value starts with a template and is not quoted";
    WRONG_SHAPE = "LP0201", "a value has the wrong type for its place";
    UNKNOWN_KEYWORD = "LP0202", "a play, block or task has a key that is no keyword";
    NO_ACTION = "LP0203", "a task has no module";
    TWO_ACTIONS = "LP0204", "a task has more than one module";
    UNKNOWN_MODULE = "LP0205", "no module has this name";
    MISSING_FILE = "LP0206", "an imported file does not exist";
    CONFLICTING_KEYWORDS = "LP0207", "two keywords cannot be used together";
    UNKNOWN_HANDLER = "LP0208", "a task notifies a handler that no play defines";
    UNKNOWN_STAGE = "LP0209", "a stage names a stage before it that does not exist";
    INVALID_NAME = "LP0210", "a variable name cannot be used";
    TWO_LOOPS = "LP0211", "a task has more than one loop";
    FOREIGN = "LP0212", "a module or plugin in Python, or of a collection, that layerplay cannot run";
    TEMPLATE_SYNTAX = "LP0301", "a template does not compile";
    UNDEFINED = "LP0302", "a name is not defined";
    UNKNOWN_FILTER = "LP0303", "no filter, test or lookup has this name";
    TEMPLATE_FAILED = "LP0304", "a template failed while it was rendered";
    NOT_BOOLEAN = "LP0305", "a condition did not yield a boolean";
    RECURSION = "LP0306", "a variable refers to itself";
    INVENTORY = "LP0401", "an inventory cannot be read";
    UNKNOWN_HOST = "LP0402", "a pattern names a host or group that the inventory lacks";
    ARGUMENT = "LP0501", "a module's argument is missing, unknown or wrong";
    COMMAND_LINE = "LP0601", "the command line cannot be used as it is";
    SETTINGS = "LP0602", "a settings file cannot be used as it is";
}
