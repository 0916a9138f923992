//! What policies have said, remembered by what they read of the input.
//!
//! A policy's program is a function: nothing but its input decides what it says, and in which order it
//! reads. So what it read of one input tells what it says of every other input that is the same there.
//! For each policy that is a tree: which place it reads first; for each value seen there, which place it
//! reads next; and at the leaves what it says. An action that a policy isn't about is mostly a tree
//! of one level.
//!
//! Values that are hardly ever the same twice, such as what remains of a budget, are not worth
//! remembering: there the tree ends, and the program is run.

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::results::Said;
use super::set::Entry;
use crate::domain::usage::UsageSeen;

/// Values that one place may have had.
const MOST_ANSWERS: usize = 256;
/// Bytes of a text, or of a larger value as JSON, that may be compared.
const MOST_BYTES: usize = 256;
/// Checks after which it is tried again whether a place's values repeat.
const FORGIVEN_AFTER: u32 = 20_000;
/// The member whose values belong to the policy, and so are always the same.
const PARAMETERS: &str = "parameters";
/// The member that is not in the input that all policies share.
const USAGE: &str = "usage";

/// A value as far as it matters whether it is the same.
#[derive(Debug)]
enum Key<'a> {
    Scalar(Scalar),
    Text(&'a str),
    /// An array or an object, as JSON.
    Whole(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Scalar {
    Missing,
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    /// By its bits: 0.0 and -0.0 can be told apart.
    Float(u64),
}

impl<'a> Key<'a> {
    /// None where it is too large.
    fn of(value: Option<&'a Value>) -> Option<Self> {
        let scalar = match value {
            None => Scalar::Missing,
            Some(Value::Null) => Scalar::Null,
            Some(Value::Bool(value)) => Scalar::Bool(*value),
            Some(Value::Number(number)) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => Scalar::Unsigned(value),
                (None, Some(value)) => Scalar::Signed(value),
                (None, None) => Scalar::Float(number.as_f64()?.to_bits()),
            },
            Some(Value::String(text)) => {
                return (text.len() <= MOST_BYTES).then_some(Self::Text(text));
            }
            Some(value) => {
                let text = value.to_string();
                return (text.len() <= MOST_BYTES).then_some(Self::Whole(text));
            }
        };
        Some(Self::Scalar(scalar))
    }
}

/// What comes after each value that a place had.
#[derive(Debug, Default)]
struct Answers {
    scalars: HashMap<Scalar, Node>,
    texts: HashMap<Box<str>, Node>,
    wholes: HashMap<Box<str>, Node>,
}

impl Answers {
    fn get(&self, key: &Key<'_>) -> Option<&Node> {
        match key {
            Key::Scalar(scalar) => self.scalars.get(scalar),
            Key::Text(text) => self.texts.get(*text),
            Key::Whole(text) => self.wholes.get(text.as_str()),
        }
    }

    fn make(&mut self, key: &Key<'_>) -> &mut Node {
        match key {
            Key::Scalar(scalar) => self.scalars.entry(*scalar).or_default(),
            Key::Text(text) => self.texts.entry((*text).into()).or_default(),
            Key::Whole(text) => self.wholes.entry(text.as_str().into()).or_default(),
        }
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.scalars.values().chain(self.texts.values()).chain(self.wholes.values())
    }

    fn len(&self) -> usize {
        self.scalars.len() + self.texts.len() + self.wholes.len()
    }

    /// With those that come after them.
    fn size(&self) -> usize {
        self.nodes().map(|node| 1 + node.size()).sum()
    }
}

/// What one policy sees, without its parameters.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) input: &'a Map<String, Value>,
    pub(super) usage: Option<UsageSeen>,
}

impl<'a> Seen<'a> {
    /// The value at a place.
    fn at(self, place: &[String], usage: &'a UsageValue) -> Option<&'a Value> {
        let (first, rest) = place.split_first()?;
        if first == USAGE {
            let value = usage.get_or_init(|| self.usage.map(|usage| json!(usage)));
            return below(value.as_ref(), rest);
        }
        below(self.input.get(first), rest)
    }
}

/// The usage as JSON, made when it is first looked at.
type UsageValue = OnceCell<Option<Value>>;

/// As the program looks it up: what isn't there, or is no object, has no members.
fn below<'a>(value: Option<&'a Value>, members: &[String]) -> Option<&'a Value> {
    members.iter().fold(value, |value, member| value?.as_object()?.get(member))
}

#[derive(Debug, Default)]
enum Node {
    /// Nothing is known yet.
    #[default]
    Unknown,
    Asks(Box<Asks>),
    Says(Arc<Said>),
    /// The values hardly repeat; so many checks until that is looked at again.
    Varies(Cell<u32>),
}

/// A place that is read next.
#[derive(Debug)]
struct Asks {
    place: u32,
    answers: Answers,
    hits: Cell<u32>,
    misses: Cell<u32>,
}

impl Asks {
    fn of(place: u32) -> Box<Self> {
        let (hits, misses) = (Cell::new(0), Cell::new(0));
        Box::new(Self { place, answers: Answers::default(), hits, misses })
    }
}

impl Node {
    /// Values in it.
    fn size(&self) -> usize {
        match self {
            Self::Asks(asks) => asks.answers.size(),
            Self::Unknown | Self::Says(_) | Self::Varies(_) => 0,
        }
    }
}

/// What is known about a check.
#[derive(Debug)]
pub(super) enum Known {
    /// What the policy says.
    Said(Arc<Said>),
    /// Nothing yet: it is worth telling.
    No,
    /// Nothing, and it isn't worth telling.
    Never,
}

/// What the policies of one thread have said.
#[derive(Debug)]
pub(super) struct Memo {
    /// By the digest of all that decides beside the input.
    trees: HashMap<[u8; 32], Node>,
    most: usize,
    size: usize,
}

impl Memo {
    /// Remembers so many values at most; none at 0.
    pub(super) fn new(most: usize) -> Self {
        Self { trees: HashMap::new(), most, size: 0 }
    }

    pub(super) const fn is_off(&self) -> bool {
        self.most == 0
    }

    /// What is known of what a policy says. `places` are those that its program reads.
    pub(super) fn find(&self, entry: &Entry, places: &[Vec<String>], seen: Seen<'_>) -> Known {
        let Some(mut node) = self.trees.get(entry.digest()) else { return Known::No };
        let usage = UsageValue::new();
        loop {
            match node {
                Node::Unknown => return Known::No,
                Node::Says(said) => return Known::Said(Arc::clone(said)),
                Node::Varies(left) => {
                    left.set(left.get().saturating_sub(1));
                    return if left.get() == 0 { Known::No } else { Known::Never };
                }
                Node::Asks(asks) => {
                    let value = seen.at(members(places, asks.place), &usage);
                    let found = Key::of(value).and_then(|key| asks.answers.get(&key));
                    let counted = if found.is_some() { &asks.hits } else { &asks.misses };
                    counted.set(counted.get().saturating_add(1));
                    match found {
                        Some(next) => node = next,
                        None => return Known::No,
                    }
                }
            }
        }
    }

    /// Remembers what a policy said, and which places it read before, in that order.
    pub(super) fn learn(
        &mut self,
        entry: &Entry,
        places: &[Vec<String>],
        seen: Seen<'_>,
        read: &[u32],
        said: &Arc<Said>,
    ) {
        if self.size >= self.most {
            self.trees.clear();
            self.size = 0;
        }
        let usage = UsageValue::new();
        let mut node = self.trees.entry(*entry.digest()).or_default();
        for place in read {
            let members = members(places, *place);
            if members.first().is_none_or(|first| first == PARAMETERS) {
                continue;
            }
            match node {
                Node::Unknown => *node = Node::Asks(Asks::of(*place)),
                Node::Varies(left) if left.get() == 0 => *node = Node::Asks(Asks::of(*place)),
                Node::Varies(_) | Node::Says(_) => return,
                Node::Asks(_) => (),
            }
            let key = Key::of(seen.at(members, &usage));
            let worth = match (&mut *node, &key) {
                // A program reads in the same order as long as it reads the same.
                (Node::Asks(asks), _) if asks.place != *place => return,
                (Node::Asks(asks), Some(key)) if asks.answers.get(key).is_some() => true,
                (Node::Asks(asks), Some(_)) => {
                    let full = asks.answers.len() >= MOST_ANSWERS;
                    let repeats = asks.hits.get() >= asks.misses.get();
                    if full && repeats {
                        // Others may be common now.
                        self.size -= asks.answers.size();
                        **asks = *Asks::of(*place);
                    }
                    self.size += usize::from(!full || repeats);
                    !full || repeats
                }
                _ => false,
            };
            let Some(key) = key.filter(|_| worth) else {
                self.size -= node.size();
                *node = Node::Varies(Cell::new(FORGIVEN_AFTER));
                return;
            };
            let Node::Asks(asks) = node else { return };
            node = asks.answers.make(&key);
        }
        *node = Node::Says(Arc::clone(said));
    }
}

/// The members of a place; none where it isn't known, and there is nothing in any input.
fn members(places: &[Vec<String>], place: u32) -> &[String] {
    let at = usize::try_from(place).unwrap_or(usize::MAX);
    places.get(at).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
#[path = "memo_tests.rs"]
mod tests;
