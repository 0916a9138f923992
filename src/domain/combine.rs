//! Many policies, one decision: any deny wins, reasons and warnings are unions.

use std::collections::BTreeSet;

use super::decision::{Decision, Mode, PolicyOutcome, Verdict};
use super::policy::FailMode;

/// The reason where no policy applied.
pub const NO_POLICY_APPLIES: &str = "no policy applies";
/// The reason where policies applied and none objected.
pub const ALLOWED: &str = "allowed";
/// The reason where enforcement is switched off.
pub const ENFORCEMENT_DISABLED: &str = "Policy enforcement disabled";
/// The reason where enforcement is in shadow: evaluated, recorded, never denied.
pub const ENFORCEMENT_IN_SHADOW: &str = "Policy enforcement in shadow";
/// The deny reason of a policy that fails closed, and the type of the violation of one that fails.
pub const POLICY_ERROR: &str = "policy_error";

/// The decision while enforcement is switched off: allowed, nothing evaluated.
#[must_use]
pub fn disabled() -> Decision {
    Decision { reason: ENFORCEMENT_DISABLED.into(), ..Decision::default() }
}

/// The decision while enforcement is in shadow: allowed, with what the policies would have denied
/// as `would_deny`. Whatever mode the outcomes have, they count as those of drafts.
#[must_use]
pub fn combine_shadow(mut policies: Vec<PolicyOutcome>) -> Decision {
    for policy in &mut policies {
        policy.mode = Mode::Shadow;
    }
    Decision { reason: ENFORCEMENT_IN_SHADOW.into(), enforced: false, ..combine(policies, None) }
}

/// Combines what the policies said. `requested` is the package that the check named, which is
/// then the one to name as deciding where nothing denied.
///
/// - a denial of an enforcing policy denies; of one in warn mode it becomes warnings; of a draft
///   it is recorded as `would_deny`;
/// - a failure is skipped open and marked, or denies where the policy fails closed;
/// - a draft's failure and a draft's warnings change nothing.
#[must_use]
pub fn combine(mut policies: Vec<PolicyOutcome>, requested: Option<&str>) -> Decision {
    policies.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.scope.cmp(&b.scope)));
    let mut deny_reasons = BTreeSet::new();
    let mut warnings = BTreeSet::new();
    let mut would_deny = BTreeSet::new();
    let mut errors = Vec::new();
    let mut denier: Option<&PolicyOutcome> = None;

    for policy in &policies {
        let reasons = reasons_of(policy);
        match policy.mode {
            Mode::Enforce => {
                if !reasons.is_empty() {
                    denier = denier.or(Some(policy));
                }
                deny_reasons.extend(reasons);
                warnings.extend(policy.warnings.iter().cloned());
            }
            Mode::Warn => {
                warnings.extend(reasons);
                warnings.extend(policy.warnings.iter().cloned());
            }
            Mode::Shadow => would_deny.extend(reasons),
        }
        if let (Some(error), true) = (&policy.error, policy.mode != Mode::Shadow) {
            errors.push(format!("{}: {error}", policy.name));
        }
    }

    let deciding = denier
        .or_else(|| policies.iter().find(|policy| Some(policy.package.as_str()) == requested))
        .or_else(|| policies.iter().find(|policy| policy.mode != Mode::Shadow));
    let (policy_name, policy_package) =
        deciding.map(|policy| (policy.name.clone(), policy.package.clone())).unwrap_or_default();
    let verdict = if denier.is_some() { Verdict::Deny } else { Verdict::Allow };
    let deny_reasons: Vec<String> = deny_reasons.into_iter().collect();
    let reason = if verdict == Verdict::Deny {
        deny_reasons.join(", ")
    } else if deciding.is_none() {
        NO_POLICY_APPLIES.to_owned()
    } else if errors.is_empty() {
        ALLOWED.to_owned()
    } else {
        format!("{ALLOWED}: a policy failed open")
    };
    Decision {
        verdict,
        reason,
        deny_reasons,
        warnings: warnings.into_iter().collect(),
        would_deny: would_deny.into_iter().collect(),
        policy_name,
        policy_package,
        enforced: true,
        error: !errors.is_empty(),
        error_message: errors.join("; "),
        policies,
    }
}

/// Why a policy denies: its reasons, or a name for a denial without any, or its closed failure.
/// Empty where it doesn't deny.
fn reasons_of(policy: &PolicyOutcome) -> Vec<String> {
    if policy.error.is_some() {
        return match policy.fail_mode {
            FailMode::Closed => vec![POLICY_ERROR.to_owned()],
            FailMode::Open => Vec::new(),
        };
    }
    match policy.verdict {
        Verdict::Allow => Vec::new(),
        Verdict::Deny if policy.deny_reasons.is_empty() => {
            vec![format!("denied_by_{}", policy.name)]
        }
        Verdict::Deny => policy.deny_reasons.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcome(name: &str, mode: Mode, verdict: Verdict, reasons: &[&str]) -> PolicyOutcome {
        PolicyOutcome {
            name: name.into(),
            package: format!("p.{name}"),
            mode,
            verdict,
            deny_reasons: reasons.iter().map(ToString::to_string).collect(),
            ..PolicyOutcome::default()
        }
    }

    #[test]
    fn nothing_applies() {
        let decision = combine(vec![], Some("p.cost"));
        assert_eq!(decision.verdict, Verdict::Allow);
        assert_eq!(decision.reason, NO_POLICY_APPLIES);
        assert_eq!(decision.policy_name, "");
    }

    #[test]
    fn only_a_draft_applies_means_no_policy_applies() {
        let decision = combine(vec![outcome("d", Mode::Shadow, Verdict::Deny, &["x"])], None);
        assert_eq!(decision.reason, NO_POLICY_APPLIES);
        assert_eq!(decision.would_deny, ["x"]);
        assert!(decision.deny_reasons.is_empty());
    }

    #[test]
    fn a_deny_without_reasons_still_has_one() {
        let decision = combine(vec![outcome("cost", Mode::Enforce, Verdict::Deny, &[])], None);
        assert_eq!(decision.reason, "denied_by_cost");
    }

    #[test]
    fn warn_mode_turns_reasons_into_warnings() {
        let decision = combine(vec![outcome("cost", Mode::Warn, Verdict::Deny, &["budget"])], None);
        assert_eq!(decision.verdict, Verdict::Allow);
        assert_eq!(decision.warnings, ["budget"]);
    }

    #[test]
    fn reasons_of_an_allowing_policy_do_not_count() {
        let decision =
            combine(vec![outcome("cost", Mode::Enforce, Verdict::Allow, &["noise"])], None);
        assert_eq!(decision.verdict, Verdict::Allow);
        assert!(decision.deny_reasons.is_empty());
        assert_eq!(decision.reason, ALLOWED);
    }

    #[test]
    fn failures_open_and_closed() {
        let failed = |fail_mode, mode| PolicyOutcome {
            error: Some("division by zero".into()),
            fail_mode,
            ..outcome("bad", mode, Verdict::Allow, &[])
        };
        let open = combine(vec![failed(FailMode::Open, Mode::Enforce)], None);
        assert_eq!((open.verdict, open.error), (Verdict::Allow, true));
        assert_eq!(open.error_message, "bad: division by zero");
        let closed = combine(vec![failed(FailMode::Closed, Mode::Enforce)], None);
        assert_eq!((closed.verdict, closed.error), (Verdict::Deny, true));
        assert_eq!(closed.deny_reasons, [POLICY_ERROR]);
        let draft = combine(vec![failed(FailMode::Closed, Mode::Shadow)], None);
        assert_eq!((draft.verdict, draft.error), (Verdict::Allow, false));
        assert_eq!(draft.would_deny, [POLICY_ERROR]);
        let warned = combine(vec![failed(FailMode::Closed, Mode::Warn)], None);
        assert_eq!((warned.verdict, warned.error), (Verdict::Allow, true));
    }

    #[test]
    fn in_shadow_everything_is_allowed_and_shown() {
        let failed = PolicyOutcome {
            error: Some("division by zero".into()),
            fail_mode: FailMode::Closed,
            ..outcome("bad", Mode::Enforce, Verdict::Allow, &[])
        };
        let decision = combine_shadow(vec![
            outcome("cost", Mode::Enforce, Verdict::Deny, &["budget"]),
            outcome("hours", Mode::Warn, Verdict::Deny, &[]),
            failed,
        ]);
        assert_eq!(decision.verdict, Verdict::Allow);
        assert_eq!(decision.reason, ENFORCEMENT_IN_SHADOW);
        assert_eq!(decision.would_deny, ["budget", "denied_by_hours", POLICY_ERROR]);
        assert!(decision.deny_reasons.is_empty() && decision.warnings.is_empty());
        assert!(!decision.enforced && !decision.error);
        assert!(decision.policies.iter().all(|policy| policy.mode == Mode::Shadow));
        assert_eq!(combine_shadow(vec![]).reason, ENFORCEMENT_IN_SHADOW);
    }

    #[test]
    fn the_first_denier_decides_else_the_requested_package() {
        let policies = vec![
            outcome("c", Mode::Enforce, Verdict::Deny, &["z"]),
            outcome("b", Mode::Enforce, Verdict::Deny, &["y"]),
            outcome("a", Mode::Enforce, Verdict::Allow, &[]),
        ];
        assert_eq!(combine(policies.clone(), Some("p.a")).policy_package, "p.b");
        let allowed = combine(
            vec![policies[2].clone(), outcome("q", Mode::Enforce, Verdict::Allow, &[])],
            Some("p.q"),
        );
        assert_eq!(allowed.policy_package, "p.q");
    }

    fn outcomes() -> impl Strategy<Value = Vec<PolicyOutcome>> {
        let reasons = proptest::collection::btree_set("[a-d]{1,2}", 0..4);
        let one = (
            "[a-e]",
            proptest::sample::select(vec![Mode::Enforce, Mode::Warn, Mode::Shadow]),
            any::<bool>(),
            reasons.clone(),
            reasons,
            any::<bool>(),
            any::<bool>(),
        );
        proptest::collection::vec(one, 0..6).prop_map(|all| {
            all.into_iter()
                .map(|(name, mode, denies, deny_reasons, warnings, fails, closed)| PolicyOutcome {
                    name,
                    mode,
                    verdict: if denies { Verdict::Deny } else { Verdict::Allow },
                    deny_reasons: deny_reasons.into_iter().collect(),
                    warnings: warnings.into_iter().collect(),
                    error: fails.then(|| "failed".to_owned()),
                    fail_mode: if closed { FailMode::Closed } else { FailMode::Open },
                    ..PolicyOutcome::default()
                })
                .collect()
        })
    }

    fn sorted_unique(values: &[String]) -> bool {
        values.windows(2).all(|pair| pair[0] < pair[1])
    }

    proptest! {
        #[test]
        fn any_deny_wins_and_only_an_enforcing_one_denies(policies in outcomes()) {
            let denies = |p: &PolicyOutcome| p.mode == Mode::Enforce
                && if p.error.is_some() { p.fail_mode == FailMode::Closed } else { p.verdict == Verdict::Deny };
            let decision = combine(policies.clone(), None);
            prop_assert_eq!(decision.verdict == Verdict::Deny, policies.iter().any(denies));
            prop_assert_eq!(decision.verdict == Verdict::Deny, !decision.deny_reasons.is_empty());
            prop_assert!(sorted_unique(&decision.deny_reasons));
            prop_assert!(sorted_unique(&decision.warnings));
            prop_assert!(sorted_unique(&decision.would_deny));
            prop_assert!(!decision.reason.is_empty());
        }

        #[test]
        fn order_does_not_matter_for_what_is_decided(
            (policies, shuffled) in outcomes().prop_flat_map(|p| (Just(p.clone()), Just(p).prop_shuffle())),
        ) {
            let (a, b) = (combine(policies, None), combine(shuffled, None));
            prop_assert_eq!(a.verdict, b.verdict);
            prop_assert_eq!(a.deny_reasons, b.deny_reasons);
            prop_assert_eq!(a.warnings, b.warnings);
            prop_assert_eq!(a.would_deny, b.would_deny);
        }

        /// In shadow nothing is denied, and what would be is what enforcing would deny.
        #[test]
        fn shadow_says_what_enforcing_would_deny(policies in outcomes()) {
            let enforced = combine(
                policies.iter().cloned().map(|p| PolicyOutcome { mode: Mode::Enforce, ..p }).collect(),
                None,
            );
            let shadow = combine_shadow(policies);
            prop_assert_eq!(shadow.verdict, Verdict::Allow);
            prop_assert_eq!(shadow.would_deny, enforced.deny_reasons);
        }

        /// Promise 5: a draft never blocks, and adding one changes nothing but `would_deny`.
        #[test]
        fn drafts_change_nothing(policies in outcomes()) {
            let without: Vec<_> = policies.iter().filter(|p| p.mode != Mode::Shadow).cloned().collect();
            let (with, without) = (combine(policies, None), combine(without, None));
            prop_assert_eq!(with.verdict, without.verdict);
            prop_assert_eq!(with.deny_reasons, without.deny_reasons);
            prop_assert_eq!(with.warnings, without.warnings);
            prop_assert_eq!(with.error, without.error);
        }
    }
}
