//! Another input like a given one: the request behind it changed in places, and everything that is
//! lifted out of it made anew, as the worker would.

use serde_json::{Map, Value};

use crate::domain::CheckRequest;
use crate::domain::input::{self, RESERVED};

/// Which part of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Resource,
    Context,
    /// Members of the request that the contract doesn't name.
    Extra,
}

/// A place in the request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) part: Part,
    pub(super) path: Vec<String>,
}

impl Place {
    /// The place as the caller writes it: `context.budget.remaining_usd`.
    pub(super) fn written(&self) -> String {
        let root = match self.part {
            Part::Resource => Some("resource"),
            Part::Context => Some("context"),
            Part::Extra => None,
        };
        let path = self.path.iter().map(String::as_str);
        root.into_iter().chain(path).collect::<Vec<_>>().join(".")
    }

    /// The place as one speaks of it: members of the context without `context`.
    pub(super) fn spoken(&self) -> String {
        match self.part {
            Part::Context => self.path.join("."),
            Part::Resource | Part::Extra => self.written(),
        }
    }
}

/// The request behind an input, and what is the system's own in it.
#[derive(Clone)]
pub(super) struct Origin {
    request: CheckRequest,
    own: Map<String, Value>,
}

impl Origin {
    /// Takes an input apart. Not every object is an input.
    pub(super) fn of(input: &Map<String, Value>) -> Option<Self> {
        let action = input.get("action")?.as_str()?.to_owned();
        let resource = input.get("resource").cloned().unwrap_or_default();
        let context = match input.get("context") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(context)) => context.clone(),
            Some(_) => return None,
        };
        let mut request = CheckRequest { action, resource, context, ..CheckRequest::default() };
        let made = input::build(&request, chrono::DateTime::UNIX_EPOCH);
        let reserved = |key: &str| RESERVED.contains(&key);
        for (key, value) in input.iter().filter(|(key, _)| !reserved(key)) {
            if made.get(key) != Some(value) {
                request.extra.insert(key.clone(), value.clone());
            }
        }
        // An alias of a member that came beside the context is made anew, too.
        let alias = request.extra.get("estimated_cost") == request.extra.get("estimated_cost_usd");
        if alias && !request.context.contains_key("estimated_cost_usd") {
            request.extra.remove("estimated_cost_usd");
        }
        let own = ["timestamp", "parameters", "usage"]
            .into_iter()
            .filter_map(|key| Some((key.to_owned(), input.get(key)?.clone())))
            .collect();
        Some(Self { request, own })
    }

    /// The input with some places changed; nothing means that the member is left out.
    pub(super) fn with(&self, changes: &[(&Place, Option<&Value>)]) -> Map<String, Value> {
        let mut request = self.request.clone();
        for (place, value) in changes {
            match place.part {
                Part::Resource => set(&mut request.resource, &place.path, *value),
                Part::Context => set_in(&mut request.context, &place.path, *value),
                Part::Extra => set_in(&mut request.extra, &place.path, *value),
            }
        }
        let mut input = input::build(&request, chrono::DateTime::UNIX_EPOCH);
        input.remove("timestamp");
        input.extend(self.own.clone());
        input
    }

    /// What is at a place.
    pub(super) fn get(&self, place: &Place) -> Option<&Value> {
        let members = match place.part {
            Part::Resource => {
                return place.path.iter().try_fold(&self.request.resource, |v, k| v.get(k));
            }
            Part::Context => &self.request.context,
            Part::Extra => &self.request.extra,
        };
        let (first, rest) = place.path.split_first()?;
        rest.iter().try_fold(members.get(first)?, |value, key| value.get(key))
    }

    /// Whether a place can be changed: a resource that is a text has no members.
    pub(super) fn takes(&self, place: &Place) -> bool {
        place.part != Part::Resource || place.path.is_empty() || !self.request.resource.is_string()
    }

    /// Where in the request a member of the input comes from, or would have to be put.
    pub(super) fn place(&self, path: &[String]) -> Option<Place> {
        let (first, rest) = path.split_first()?;
        let rest = rest.to_vec();
        match first.as_str() {
            "action" | "timestamp" | "parameters" | "usage" => return None,
            "resource" => return Some(Place { part: Part::Resource, path: rest }),
            "context" if rest.is_empty() => return None,
            "context" => return Some(Place { part: Part::Context, path: rest }),
            _ => (),
        }
        let here = |name: &str| {
            let path: Vec<String> = std::iter::once(name.to_owned()).chain(rest.clone()).collect();
            if self.request.context.contains_key(name) {
                Some(Place { part: Part::Context, path })
            } else if self.request.extra.contains_key(name) {
                Some(Place { part: Part::Extra, path })
            } else {
                None
            }
        };
        let lifted = match first.as_str() {
            "estimated_cost_usd" => here("estimated_cost"),
            "model" if self.request.resource.get("model").is_some() => {
                let path = std::iter::once("model".to_owned()).chain(rest.clone()).collect();
                Some(Place { part: Part::Resource, path })
            }
            _ => None,
        };
        let missing = || Place { part: Part::Context, path: path.to_vec() };
        Some(here(first).or(lifted).unwrap_or_else(missing))
    }
}

fn set(target: &mut Value, path: &[String], value: Option<&Value>) {
    if path.is_empty() {
        if let Some(value) = value {
            *target = value.clone();
        }
        return;
    }
    match target {
        Value::Object(members) => set_in(members, path, value),
        Value::Array(items) => {
            let slot = path.first().and_then(|key| items.get_mut(key.parse::<usize>().ok()?));
            if let (Some(slot), Some((_, rest))) = (slot, path.split_first()) {
                set(slot, rest, value);
            }
        }
        Value::Null if value.is_some() => {
            let mut members = Map::new();
            set_in(&mut members, path, value);
            *target = Value::Object(members);
        }
        _ => (),
    }
}

fn set_in(members: &mut Map<String, Value>, path: &[String], value: Option<&Value>) {
    let Some((first, rest)) = path.split_first() else { return };
    match (rest.is_empty(), value) {
        (true, Some(value)) => drop(members.insert(first.clone(), value.clone())),
        (true, None) => drop(members.remove(first)),
        (false, Some(_)) => {
            set(members.entry(first.clone()).or_insert(Value::Null), rest, value);
        }
        (false, None) => {
            if let Some(inner) = members.get_mut(first) {
                set(inner, rest, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn input() -> Map<String, Value> {
        let request = CheckRequest {
            action: "llm_call".into(),
            resource: json!({"model": "gpt-4"}),
            context: json!({"estimated_cost": 2, "budget": {"remaining_usd": 1}})
                .as_object()
                .cloned()
                .unwrap(),
            extra: json!({"trace": 7}).as_object().cloned().unwrap(),
            package: None,
        };
        let mut input = input::build(&request, chrono::DateTime::UNIX_EPOCH);
        input.insert("timestamp".into(), json!("2024-01-01T00:00:00Z"));
        input.insert("parameters".into(), json!({"limit": 1}));
        input.insert("usage".into(), json!({"calls_in_window": 3}));
        input
    }

    fn place(path: &str) -> Place {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        Origin::of(&input()).unwrap().place(&path).unwrap()
    }

    #[test]
    fn an_unchanged_variant_is_the_input() {
        assert_eq!(Origin::of(&input()).unwrap().with(&[]), input());
        assert!(Origin::of(&Map::new()).is_none());
    }

    #[test]
    fn a_change_arrives_at_every_copy() {
        let origin = Origin::of(&input()).unwrap();
        let cost = place("estimated_cost_usd");
        assert_eq!(cost, place("context.estimated_cost"));
        let changed = origin.with(&[(&cost, Some(&json!(0.5)))]);
        assert_eq!(changed["estimated_cost"], 0.5);
        assert_eq!(changed["estimated_cost_usd"], 0.5);
        assert_eq!(changed["context"]["estimated_cost"], 0.5);
        let model = place("model");
        assert_eq!(model, place("resource.model"));
        let changed = origin.with(&[(&model, Some(&json!("o1")))]);
        assert_eq!(
            (&changed["model"], &changed["resource"]["model"]),
            (&json!("o1"), &json!("o1"))
        );
        let changed = origin.with(&[(&model, None)]);
        assert!(!changed.contains_key("model") && changed["resource"].get("model").is_none());
        assert_eq!(changed["timestamp"], "2024-01-01T00:00:00Z");
        let deep = place("review.approved");
        let changed = origin.with(&[(&deep, Some(&json!(true)))]);
        assert_eq!(changed["review"]["approved"], true);
        assert_eq!(changed["context"]["review"]["approved"], true);
        let beside = place("trace");
        assert_eq!((beside.part, beside.written().as_str()), (Part::Extra, "trace"));
        assert_eq!(origin.with(&[(&beside, None)]).get("trace"), None);
    }

    #[test]
    fn the_systems_own_and_the_action_have_no_place() {
        let origin = Origin::of(&input()).unwrap();
        for path in ["action", "timestamp", "parameters", "usage", "context"] {
            assert_eq!(origin.place(&[path.to_owned()]), None, "{path}");
        }
        assert_eq!(place("budget.remaining_usd").written(), "context.budget.remaining_usd");
        assert_eq!(place("budget.remaining_usd").spoken(), "budget.remaining_usd");
        assert_eq!(place("resource.path").spoken(), "resource.path");
    }
}
