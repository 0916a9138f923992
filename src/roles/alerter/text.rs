//! Texts of others in messages to people: of bounded length, on one line, and unable to look like
//! something else.

/// The text on one line, at most so many characters. What turns the direction of writing or has no
/// width could make it read as another text.
pub(super) fn clean(text: &str, most: usize) -> String {
    let mut cleaned: String = text
        .chars()
        .take(most)
        .map(|c| match c {
            c if c.is_control() => ' ',
            '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}' => '\u{fffd}',
            c => c,
        })
        .collect();
    if text.chars().nth(most).is_some() {
        cleaned.push('…');
    }
    cleaned
}

/// The text for a place where markup is understood: it makes no link, no mention and no emphasis, in
/// Slack and in what takes Slack's JSON and understands Markdown.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // A space without width behind it keeps `@channel`, `[x](y)` and `https://` from working.
            '@' | ']' | ':' => escaped.extend([c, '\u{200b}']),
            '`' => escaped.push('\''),
            '*' | '_' | '~' | '|' | '#' => escaped.extend(['\u{200b}', c, '\u{200b}']),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_texts_are_only_texts() {
        let hostile = "<!channel> <https://evil.example|Reset> @here [x](http://e) & `a` *b*";
        let escaped = escape(hostile);
        for markup in ["<", ">", "@h", "](", "://", "`", " *b"] {
            assert!(!escaped.contains(markup), "{markup}: {escaped}");
        }
        assert!(escaped.contains("&lt;!channel&gt;") && escaped.contains("&amp;"));
        assert_eq!(clean("a\r\nb\u{202e}c", 10), "a  b\u{fffd}c");
        assert_eq!(clean("日本語", 2), "日本…");
        assert_eq!(clean("日本", 2), "日本");
    }
}
