//! JUnit's XML, as build servers read it.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, TestCase, TestCaseStatus, TestSuite};

use super::report::{CaseReport, Outcome, Report, SuiteReport};

/// The report as XML. A suite that can't be run is an error in it.
///
/// # Errors
/// When the XML can't be written.
pub fn xml(report: &Report) -> Result<String, quick_junit::SerializeError> {
    let mut junit = quick_junit::Report::new("sluicegate test");
    junit.set_time(report.duration);
    for suite in &report.suites {
        junit.add_test_suite(self::suite(suite));
    }
    if !report.invalid.is_empty() {
        let mut suite = TestSuite::new("invalid suites");
        for error in &report.invalid {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_type("invalid").set_message(error.to_string());
            suite.add_test_case(TestCase::new(error.file.display().to_string(), status));
        }
        junit.add_test_suite(suite);
    }
    junit.to_string()
}

fn suite(report: &SuiteReport) -> TestSuite {
    let mut suite = TestSuite::new(report.policy.as_str());
    suite.set_time(report.duration);
    let file = report.file.display().to_string();
    suite.add_property(Property::new("file", file));
    for case in &report.cases {
        let mut test = TestCase::new(case.name.as_str(), status(case));
        test.set_classname(report.policy.as_str())
            .set_time(Duration::from_micros(case.duration_us));
        test.extra.insert("file".into(), report.file.display().to_string().into());
        test.extra.insert("line".into(), case.line.to_string().into());
        suite.add_test_case(test);
    }
    suite
}

fn status(case: &CaseReport) -> TestCaseStatus {
    match case.outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Skipped => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(case.message.clone().unwrap_or_default());
            status
        }
        Outcome::Failed => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let lines: Vec<String> = case
                .differences
                .iter()
                .map(|d| format!("{}: expected {}, got {}", d.field, d.expected, d.got))
                .chain(case.message.clone())
                .collect();
            status.set_type("failed").set_message(lines.join("; "));
            if !case.description.is_empty() {
                status.set_description(case.description.as_str());
            }
            status
        }
    }
}
