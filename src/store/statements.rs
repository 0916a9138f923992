//! Splitting a file of SQL: ClickHouse takes one statement per request.

/// The statements of a file, each without its semicolon. A semicolon within a string, a quoted name
/// or a comment separates nothing; what is only comments is no statement.
pub(super) fn statements(sql: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut meaningful = false;
    let mut chars = sql.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            ';' => {
                push(&mut found, sql.get(start..at), meaningful);
                start = at + 1;
                meaningful = false;
            }
            '\'' | '"' | '`' => {
                meaningful = true;
                skip_quoted(&mut chars, c);
            }
            '-' if chars.peek().is_some_and(|(_, next)| *next == '-') => {
                skip_until(&mut chars, |_, c| c == '\n');
            }
            '/' if chars.peek().is_some_and(|(_, next)| *next == '*') => {
                chars.next();
                skip_until(&mut chars, |before, c| before == '*' && c == '/');
            }
            c if c.is_whitespace() => (),
            _ => meaningful = true,
        }
    }
    push(&mut found, sql.get(start..), meaningful);
    found
}

fn push<'a>(found: &mut Vec<&'a str>, statement: Option<&'a str>, meaningful: bool) {
    if let (Some(statement), true) = (statement, meaningful) {
        found.push(statement.trim());
    }
}

type Chars<'a> = std::iter::Peekable<std::str::CharIndices<'a>>;

/// To the end of what `quote` opened. A backslash takes the next character with it; a doubled quote
/// closes and opens again, which comes to the same.
fn skip_quoted(chars: &mut Chars<'_>, quote: char) {
    while let Some((_, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return;
        }
    }
}

fn skip_until(chars: &mut Chars<'_>, end: impl Fn(char, char) -> bool) {
    let mut before = '\0';
    for (_, c) in chars {
        if end(before, c) {
            return;
        }
        before = c;
    }
}

#[cfg(test)]
mod tests {
    use super::statements;

    #[test]
    fn splits_only_between_statements() {
        let sql = "-- a; b\nCREATE TABLE t (a String COMMENT 'it''s; \\'so;');\n\n\
                   /* ; */ SELECT `a;b`, \"c;d\" FROM t; -- done;\n";
        assert_eq!(
            statements(sql),
            [
                "-- a; b\nCREATE TABLE t (a String COMMENT 'it''s; \\'so;')",
                "/* ; */ SELECT `a;b`, \"c;d\" FROM t",
            ]
        );
    }

    #[test]
    fn nothing_but_comments_is_no_statement() {
        assert!(statements("").is_empty());
        assert!(statements(" ;; -- x;\n /* y;").is_empty());
        assert_eq!(statements("SELECT 1"), ["SELECT 1"]);
        assert_eq!(
            statements("SELECT 2 - 1 / 1; SELECT 'open"),
            ["SELECT 2 - 1 / 1", "SELECT 'open"]
        );
    }
}
