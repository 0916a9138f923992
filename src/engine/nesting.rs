//! Nesting of a Rego text, bounded before parsing: the parser's time grows exponentially with it
//! (twenty nested `[` take a second).

use super::error::EngineError;

/// Checks that brackets outside of strings and comments are nested at most `limit` deep.
pub(super) fn check(rego: &str, limit: usize) -> Result<(), EngineError> {
    let mut depth = 0_usize;
    let mut line = 1_usize;
    let mut chars = rego.chars();
    while let Some(c) = chars.next() {
        match c {
            '\n' => line += 1,
            '#' => line += usize::from(chars.by_ref().any(|c| c == '\n')),
            '"' => skip_string(&mut chars),
            '`' => {
                for c in chars.by_ref().take_while(|c| *c != '`') {
                    line += usize::from(c == '\n');
                }
            }
            '[' | '{' | '(' => {
                depth += 1;
                if depth > limit {
                    return Err(EngineError::TooDeep { line, depth, limit });
                }
            }
            ']' | '}' | ')' => depth = depth.saturating_sub(1),
            _ => (),
        }
    }
    Ok(())
}

fn skip_string(chars: &mut std::str::Chars<'_>) {
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            // A string ends at its quote; at a line's end it is an error that the parser names.
            '"' | '\n' => return,
            _ => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_only_real_brackets() {
        assert_eq!(check("a := [[1]] # [[[[[\nb := \"[[[[[\\\"[[\"\nc := `[[[[[`", 2), Ok(()));
        assert_eq!(
            check("a := 1\nb := [[[1]]]", 2),
            Err(EngineError::TooDeep { line: 2, depth: 3, limit: 2 })
        );
    }
}
