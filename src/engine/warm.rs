//! VMs that are kept between checks: setting one up costs more than most evaluations.

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use regorus::MemoryBudgetConfig;
use regorus::rvm::program::Program;
use regorus::rvm::vm::RegoVM;
use regorus::utils::limits::ExecutionTimerConfig;

use super::compile::Compiled;
use super::evaluate::EvaluationLimits;

/// VMs of one thread at most.
const MOST: usize = 512;
/// Instructions between two looks at the clock.
const TIMER_INTERVAL: u32 = 64;

/// A VM with the limits of an evaluation.
pub(super) fn limited(program: Arc<Program>, limits: &EvaluationLimits) -> RegoVM {
    let mut vm = RegoVM::new();
    vm.set_strict_builtin_errors(true);
    vm.set_max_instructions(limits.instructions);
    vm.set_execution_timer_config(
        NonZeroU32::new(TIMER_INTERVAL)
            .map(|check_interval| ExecutionTimerConfig { limit: limits.time, check_interval }),
    );
    vm.set_memory_budget_config(
        NonZeroU64::new(limits.memory).map(|limit| MemoryBudgetConfig { limit }),
    );
    vm.load_program(program);
    vm
}

struct Warm {
    vm: RegoVM,
    used: u64,
}

/// The warm VMs of one thread, by the digest of their Rego: policies that share one Rego share a
/// VM, and one whose Rego stays the same keeps it over a change of the set.
pub(super) struct WarmVms {
    limits: EvaluationLimits,
    vms: HashMap<[u8; 32], Warm>,
    most: usize,
    clock: u64,
}

impl WarmVms {
    pub(super) fn new(limits: EvaluationLimits) -> Self {
        Self { limits, vms: HashMap::new(), most: MOST, clock: 0 }
    }

    /// The VM of a program.
    pub(super) fn get(&mut self, compiled: &Compiled) -> &mut RegoVM {
        self.of(compiled, &compiled.program)
    }

    /// The VM of another program of the same text, where these VMs are for such programs.
    pub(super) fn of(&mut self, compiled: &Compiled, program: &Arc<Program>) -> &mut RegoVM {
        if self.vms.len() >= self.most && !self.vms.contains_key(&compiled.digest) {
            self.make_room();
        }
        self.clock += 1;
        let limits = &self.limits;
        let warm = self
            .vms
            .entry(compiled.digest)
            .or_insert_with(|| Warm { vm: limited(Arc::clone(program), limits), used: 0 });
        warm.used = self.clock;
        &mut warm.vm
    }

    /// Throws a VM away.
    pub(super) fn remove(&mut self, compiled: &Compiled) {
        self.vms.remove(&compiled.digest);
    }

    /// Forgets the half that was not used for the longest time, so that room is made rarely.
    fn make_room(&mut self) {
        let mut times: Vec<u64> = self.vms.values().map(|warm| warm.used).collect();
        let middle = times.len() / 2;
        if middle < times.len() {
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            self.vms.retain(|_, warm| warm.used >= median);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::{CompileLimits, compile};

    #[test]
    fn keeps_the_used_ones_and_no_more_than_it_may() {
        let limits = EvaluationLimits {
            instructions: 1_000,
            time: Duration::from_secs(1),
            memory: 1 << 20,
            reasons: 1,
            reason_bytes: 1,
        };
        let compile_limits = CompileLimits { bytes: 1_000, nesting: 4 };
        let policy = |n: usize| {
            let rego = format!("package p\nallow := {n} > 3\n");
            compile("p.rego", &rego, &compile_limits).unwrap()
        };
        let policies: Vec<Compiled> = (0..20).map(policy).collect();
        let mut warm = WarmVms { most: 4, ..WarmVms::new(limits) };
        for compiled in &policies {
            warm.get(compiled);
            warm.get(&policies[0]);
            assert!(warm.vms.len() <= 4);
            assert!(warm.vms.contains_key(&policies[0].digest), "the one in use stays");
        }
        warm.remove(&policies[0]);
        assert!(!warm.vms.contains_key(&policies[0].digest));
        let again = policy(1);
        assert_eq!(again.digest, policies[1].digest, "the same Rego is the same VM");
    }
}
