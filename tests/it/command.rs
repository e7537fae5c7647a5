//! The command line of an operator under test: the usual flags, overridden by those of the test.

/// A flag that leaves out what makes the default connection.
pub const NO_DEFAULT: &str = "no default connection";
/// Flags of other credentials than a token.
const OTHER_CREDENTIALS: [&str; 3] = ["--zitadel-key-file", "--zitadel-client-id-file", "--zitadel-system-user"];

use std::process::Command;

/// Rebuilds a command with other values for some flags.
pub fn override_flags(command: &Command, flags: &[String]) -> Command {
    let mut arguments: Vec<String> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
    for flag in flags {
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        match arguments.iter().position(|argument| argument == name) {
            Some(at) => value.clone_into(&mut arguments[at + 1]),
            None if value.is_empty() => arguments.push(name.to_owned()),
            None => arguments.extend([name.to_owned(), value.to_owned()]),
        }
    }
    let usual = |arguments: &[String], name: &str| arguments.iter().position(|argument| argument == name);
    if let Some(at) = usual(&arguments, NO_DEFAULT) {
        arguments.remove(at);
        for name in ["--zitadel-url", "--zitadel-token-file"] {
            let at = usual(&arguments, name).expect("the usual flag");
            arguments.drain(at..at + 2);
        }
    }
    // Another kind of credential takes the place of the usual one.
    if arguments.iter().any(|argument| OTHER_CREDENTIALS.contains(&argument.as_str())) {
        let at = arguments.iter().position(|argument| argument == "--zitadel-token-file").expect("the usual flag");
        arguments.drain(at..at + 2);
    }
    let mut rebuilt = Command::new(command.get_program());
    rebuilt.args(arguments);
    // Those of a real server (see [`crate::real`]) would join the flags of every operator.
    devkit::host::without_zitadel(&mut rebuilt);
    copy_environment(command, &mut rebuilt);
    rebuilt
}

fn copy_environment(from: &Command, to: &mut Command) {
    for (name, value) in from.get_envs() {
        match value {
            Some(value) => to.env(name, value),
            None => to.env_remove(name),
        };
    }
}

/// The same command, run by another program.
pub fn wrapped(command: Command, wrapper: &[String]) -> Command {
    let [program, arguments @ ..] = wrapper else { return command };
    let mut outer = Command::new(program);
    outer.args(arguments).arg(command.get_program()).args(command.get_args());
    copy_environment(&command, &mut outer);
    outer
}
