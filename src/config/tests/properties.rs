//! What holds for every key and every mixture of sources.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::config::keys::{find, find_variable, nearest};

fn any_key() -> impl Strategy<Value = Key> {
    select(keys())
}

/// The name with one letter left out, added, replaced, or swapped with the one before.
fn misspelt(name: &str, how: u8, at: &Index, letter: char) -> String {
    let mut letters: Vec<char> = name.chars().collect();
    let at = at.index(letters.len());
    match how {
        0 => {
            letters.remove(at);
        }
        1 => letters.insert(at, letter),
        2 => letters[at] = letter,
        _ => letters.swap(at, at.saturating_sub(1)),
    }
    letters.into_iter().collect()
}

proptest! {
    #[test]
    fn a_key_misspelt_by_a_letter_is_suggested(
        key in any_key(), how in 0..4_u8, at: Index, letter in proptest::char::range('a', 'z'),
    ) {
        let wrong = misspelt(key.path, how, &at, letter);
        prop_assume!(find(&wrong).is_none());
        let near = nearest(&wrong);
        prop_assert!(near.close, "{wrong}");
        prop_assert_eq!(near.keys, [&key], "{}", wrong);
    }

    #[test]
    fn a_variable_misspelt_by_a_letter_is_suggested(
        key in any_key(), how in 0..4_u8, at: Index, letter in proptest::char::range('A', 'Z'),
    ) {
        let name = key.variable();
        let wrong = format!(
            "{VARIABLE_PREFIX}{}",
            misspelt(name.strip_prefix(VARIABLE_PREFIX).unwrap(), how, &at, letter)
        );
        prop_assume!(find_variable(&wrong).is_none());
        let told = refusal(&env(&[(&wrong, "x")]));
        prop_assert!(told.contains(&format!("did you mean {name}?")), "{}", told);
    }

    #[test]
    fn variables_and_keys_name_each_other(key in any_key()) {
        prop_assert_eq!(find_variable(&key.variable()), Some(&key));
        prop_assert_eq!(find(key.path), Some(&key));
    }

    #[test]
    fn any_text_is_read_or_refused_and_never_panics(key in any_key(), text: String) {
        let _ = load(&set(&[&format!("{}={text}", key.path)]));
        let _ = load(&env(&[(&key.variable(), &text)]));
    }

    #[test]
    fn a_secret_is_never_told(
        key in select(vec!["nats.password", "nats.token", "clickhouse.password"]),
        secret in "s3cret[a-z0-9@:/,=\" ]{0,20}",
        broken in any::<bool>(),
    ) {
        let mut sources = set(&[&format!("{key}={secret}")]);
        if broken {
            sources.overrides.push(Override::new("--set", "stream.replicas", "2"));
        }
        let told = match load(&sources) {
            Ok(loaded) => format!("{loaded:?} {}", serde_json::to_string(loaded.rows()).unwrap()),
            Err(error) => format!("{error} {error:?}"),
        };
        prop_assert!(!told.contains("s3cret"), "{}", told);
    }

    /// One key in a random subset of the sources: the strongest of them wins and is named.
    #[test]
    fn the_strongest_source_wins(present in any::<[bool; 5]>()) {
        let mut files = Vec::new();
        if present[0] {
            files.push(("config/sluicegate.toml", "enforcement.enabled = true\nworker.queue = 10"));
        }
        files.push((
            "config/sluicegate.p.toml",
            if present[1] { "[worker]\nqueue = 20" } else { "" },
        ));
        let folder = Folder::new(&files);
        let mut sources = folder.sources();
        sources.profile = Some("p".into());
        if present[2] {
            sources.env.insert("SLUICEGATE_WORKER_QUEUE".into(), "30".into());
        }
        if present[3] {
            sources.overrides.push("worker.queue=40".parse().unwrap());
        }
        if present[4] {
            sources.overrides.push(Override::new("--queue", "worker.queue", "50"));
        }
        let expected = [
            (present[4], 50, "--queue"),
            (present[3], 40, "--set"),
            (present[2], 30, "SLUICEGATE_WORKER_QUEUE"),
            (present[1], 20, "config/sluicegate.p.toml:2"),
            (present[0], 10, "config/sluicegate.toml:2"),
            (true, Config::default().worker.queue, "default"),
        ];
        let (_, queue, origin) = expected.into_iter().find(|(present, ..)| *present).unwrap();
        let loaded = load(&sources).unwrap();
        prop_assert_eq!(loaded.config.worker.queue, queue);
        prop_assert_eq!(loaded.origin("worker.queue").unwrap().to_string(), origin);
    }

    /// What is shown can be written back: the rows as a file give the same configuration.
    #[test]
    fn shown_values_can_be_written_back(
        queue in 1..1_000_000_usize,
        nanos in 1_000_000_000..3_600_000_000_000_u64,
        bytes in (1_u64 << 20)..(1 << 50),
        name in "[a-z\"\\\\ é\n]{0,12}",
        flag: bool,
    ) {
        let loaded = load(&set(&[
            &format!("worker.queue={queue}"),
            &format!("http.request_timeout={nanos}ns"),
            &format!("stream.max_bytes={bytes}"),
            &format!("instance.name={name}"),
            &format!("policies.seed={flag}"),
        ])).unwrap();
        let text: String =
            loaded.rows().iter().map(|row| format!("{} = {}\n", row.key, row.shown())).collect();
        let again = load(&Folder::main(&text).sources()).unwrap();
        prop_assert_eq!(again.config, loaded.config);
    }
}
