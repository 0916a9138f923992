use std::fs;

use serde_json::json;

use super::*;

fn report(text: &str) -> (Uuid, Bytes) {
    let id = Uuid::now_v7();
    (id, json!({"id": id, "message": text}).to_string().into())
}

fn spool(folder: &Path, most_bytes: usize) -> Spool {
    Spool::open(Some(folder), most_bytes, Arc::default()).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Reads all that is left behind, as the sender does.
fn adopted(folder: &Path, counters: &Counters) -> Vec<Uuid> {
    let mut orphans = Orphans::new(folder.to_owned());
    let mut found = Vec::new();
    loop {
        let reports = orphans.next(counters);
        if reports.is_empty() {
            return found;
        }
        let ids: Vec<Uuid> = reports.iter().map(|(id, _)| *id).collect();
        orphans.settled(&ids);
        found.extend(ids);
    }
}

/// Ends a spool as a crash would: its lock is gone, its file stays.
fn crash(mut spool: Spool) {
    drop(spool.state.get_mut().unwrap().file.take());
}

#[test]
fn what_a_process_leaves_behind_another_reads_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = spool(folder.path(), 1 << 20);
    let reports: Vec<_> = (0..100).map(|n| report(&format!("{n}"))).collect();
    for (id, body) in &reports {
        assert!(first.push(*id, body.clone()));
    }
    let counters = Counters::default();
    assert!(adopted(folder.path(), &counters).is_empty(), "its owner lives");
    crash(first);
    let ids: Vec<Uuid> = reports.iter().map(|(id, _)| *id).collect();
    assert_eq!(adopted(folder.path(), &counters), ids);
    assert!(files(folder.path()).is_empty());
}

#[test]
fn a_file_that_is_not_finished_is_read_on_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let first = spool(folder.path(), 1 << 20);
    let reports: Vec<_> = (0..AT_ONCE + 5).map(|n| report(&format!("{n}"))).collect();
    for (id, body) in &reports {
        first.push(*id, body.clone());
    }
    crash(first);
    let mut orphans = Orphans::new(folder.path().to_owned());
    assert_eq!(orphans.next(&Counters::default()).len(), AT_ONCE);
    drop(orphans);
    assert_eq!(adopted(folder.path(), &Counters::default()).len(), reports.len());
}

#[test]
fn lines_that_were_cut_or_altered_are_skipped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let first = spool(folder.path(), 1 << 20);
    let reports: Vec<_> = (0..4).map(|n| report(&format!("{n}"))).collect();
    for (id, body) in &reports {
        first.push(*id, body.clone());
    }
    crash(first);
    let path = files(folder.path()).remove(0);
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[1] = lines[1].replace('1', "2");
    lines.insert(2, "\u{0}\u{0}garbage".to_owned());
    let cut = lines.pop().unwrap();
    fs::write(&path, format!("{}\n\n{}", lines.join("\n"), &cut[..cut.len() / 2])).unwrap();
    let counters = Counters::default();
    assert_eq!(adopted(folder.path(), &counters), [reports[0].0, reports[2].0]);
    assert_eq!(counters.stats(0, false).corrupt, 3);
}

#[test]
fn memory_and_file_are_bounded_and_emptied() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool(folder.path(), 2_000);
    let body = "x".repeat(500);
    let mut ids = Vec::new();
    for _ in 0..200 {
        let (id, body) = report(&body);
        if !spool.push(id, body.clone()) {
            spool.settled(&ids[..1]);
            ids.remove(0);
            assert!(spool.push(id, body), "there is room again");
        }
        ids.push(id);
        let bytes: u64 = files(folder.path()).iter().map(|f| f.metadata().unwrap().len()).sum();
        assert!(bytes < 6_000, "{bytes} bytes for reports of at most 2000");
    }
    assert_eq!(spool.len(), 3);
    assert_eq!(spool.first().iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
    spool.settled(&ids);
    assert_eq!(spool.len(), 0);
    assert_eq!(files(folder.path())[0].metadata().unwrap().len(), 0);
    drop(spool);
    assert!(files(folder.path()).is_empty());
}

#[test]
fn a_folder_that_can_not_be_written_is_refused_at_once() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = Spool::open(Some(&file.path().join("below")), 1, Arc::default());
    assert!(matches!(refused, Err(ClientError::Setting { setting: "spool_folder", .. })));
}
