//! `--help` and `--version`.

use crate::worker::support::Program;

/// The commands below these, as the program lists them.
fn commands(below: &[&str]) -> Vec<String> {
    let said = Program::new(&[below, &["--help"]].concat()).run().ended_with(0);
    let list = said.out.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    commands.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

#[test]
fn the_program_says_what_its_exit_codes_mean() {
    let said = Program::new(&["--help"]).run().ended_with(0);
    let codes = said.out.split("Exit codes:\n").nth(1).unwrap();
    let codes: Vec<&str> = codes.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert_eq!(codes, ["0", "1", "2", "3", "4", "64", "78", "130"]);
    assert_eq!(said.err, "");
    let version = Program::new(&["--version"]).run().ended_with(0);
    assert_eq!(version.out, format!("sluicegate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_command_has_help_with_examples() {
    let commands = commands(&[]);
    for expected in
        ["up", "worker", "sink", "console", "check", "audit", "tail", "config", "policy", "eval"]
    {
        assert!(commands.iter().any(|command| command == expected), "{expected}: {commands:?}");
    }
    for command in commands.iter().filter(|command| *command != "help") {
        for help in [[command.as_str(), "--help"], ["help", command]] {
            let said = Program::new(&help).run().ended_with(0);
            assert!(said.out.contains("Usage: sluicegate"), "{said:?}");
            assert_eq!(said.err, "");
        }
        if command == "bench" || command == "policy" {
            for below in self::commands(&[command]).iter().filter(|below| *below != "help") {
                let said = Program::new(&[command, below, "--help"]).run().ended_with(0);
                let example = format!("sluicegate {command} {below}");
                assert!(said.out.contains(&example), "{below} has no examples:\n{}", said.out);
            }
        } else {
            let said = Program::new(&[command, "--help"]).run();
            let example = format!("sluicegate {command}");
            let examples = said.out.split("Examples:\n").nth(1).unwrap_or_default();
            assert!(examples.contains(&example), "{command} has no examples:\n{}", said.out);
        }
    }
    for command in ["check", "health"] {
        let said = Program::new(&[command, "--help"]).run();
        assert!(said.out.contains("Exit code 0 means"), "{}", said.out);
    }
}

/// Every example of `check` is a command line that the program understands.
#[test]
fn the_examples_of_check_are_understood() {
    let said = Program::new(&["check", "--help"]).run();
    let examples = said.out.split("Examples:\n").nth(1).unwrap();
    let nowhere = format!("nats://127.0.0.1:{}", crate::support::servers::free_port());
    let mut tried = 0;
    for line in examples.lines().filter_map(|line| line.trim().strip_prefix("sluicegate check ")) {
        let arguments: Vec<&str> = line.split(' ').collect();
        let program = Program::new(&[&["check", "--nats-url", &nowhere], &arguments[..]].concat());
        program.file("request.json", r#"{"action": "a", "resource": "r"}"#).run().ended_with(4);
        tried += 1;
    }
    assert!(tried >= 3, "{examples}");
}
