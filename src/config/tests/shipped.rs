//! The shipped `config/sluicegate.toml` says what the program does.

use super::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/sluicegate.toml");

/// Keys and values of the lines like `#key = value`, and whether an explanation stands above.
fn commented_out(text: &str) -> Vec<(String, String, bool)> {
    let mut section = "";
    let mut explained = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((name, value)) = line
            .strip_prefix('#')
            .filter(|rest| !rest.starts_with(' '))
            .and_then(|rest| rest.split_once(" = "))
        {
            found.push((format!("{section}.{name}"), value.to_owned(), explained));
        }
        explained = line.starts_with("# ");
    }
    found
}

#[test]
fn it_holds_every_key_with_its_default_and_an_explanation() {
    let shipped = commented_out(&std::fs::read_to_string(FILE).unwrap());
    let rows = load(&no_files()).unwrap();
    let defaults: Vec<_> =
        rows.rows().iter().map(|row| (row.key.to_owned(), row.shown(), true)).collect();
    for (shipped, default) in shipped.iter().zip(&defaults) {
        assert_eq!(shipped, default);
    }
    assert_eq!(shipped.len(), defaults.len());
}

#[test]
fn it_explains_every_choice() {
    let text = std::fs::read_to_string(FILE).unwrap();
    for key in keys() {
        let Kind::Choice(words) = key.kind else { continue };
        let name = key.path.split_once('.').unwrap().1;
        let at = text.find(&format!("#{name} = ")).unwrap();
        let above = text[..at].lines().last().unwrap();
        assert!(words.iter().all(|word| above.contains(word)), "{}: {above}", key.path);
    }
}

#[test]
fn as_shipped_it_changes_nothing() {
    let sources = Sources { folder: env!("CARGO_MANIFEST_DIR").into(), ..Sources::default() };
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.files, [Path::new(MAIN_FILE)]);
}

#[test]
fn with_every_line_uncommented_it_still_changes_nothing() {
    let text: String = std::fs::read_to_string(FILE)
        .unwrap()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let loaded = load(&Folder::main(&text).sources()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.rows().iter().all(|row| row.origin != Origin::Default), "{:?}", loaded.rows());
}
