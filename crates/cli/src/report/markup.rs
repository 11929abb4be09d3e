//! Text that goes into the page. Everything that comes from a file passes through [`escape`]: a model may be
//! called `<script>`.

/// Text for an element or a double-quoted attribute. Control characters, which HTML cannot carry, become U+FFFD;
/// so do the characters that turn the direction of writing, which could make one name look like another.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(letter),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => safe.push('\u{fffd}'),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            letter if letter.is_control() => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}

/// A coordinate: a tenth of a pixel is enough, and never `NaN`, which would spoil a whole path.
pub fn px(value: f64) -> String {
    if !value.is_finite() {
        return "0".to_owned();
    }
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// How wide a text is about, in ems: the page has no font's measures, so rather too wide than too narrow.
pub fn ems(text: &str) -> f64 {
    text.chars()
        .map(|letter| match letter {
            'i' | 'l' | 'j' | '.' | ',' | ':' | ';' | '|' | '\'' | ' ' => 0.32,
            'm' | 'w' | 'M' | 'W' | '%' | '✕' => 0.9,
            'A'..='Z' => 0.68,
            letter if (letter as u32) >= 0x2e80 => 1.0,
            _ => 0.57,
        })
        .sum()
}

/// Cuts a text that is wider than `most` ems, with an ellipsis.
pub fn cut(text: &str, most: f64) -> String {
    if ems(text) <= most {
        return text.to_owned();
    }
    let mut short = String::new();
    for letter in text.chars() {
        if ems(&short) + 1.6 > most {
            break;
        }
        short.push(letter);
    }
    short.trim_end().to_owned() + "…"
}

/// Breaks a text into rows of at most `most` ems, between words; a word that is wider is cut.
pub fn wrap(text: &str, most: f64) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match rows.last_mut() {
            // The mark in front of a name never stands alone.
            Some(row) if row == "✕" || ems(row) + ems(word) + 0.4 <= most => {
                row.push(' ');
                row.push_str(word);
            }
            _ => rows.push(word.to_owned()),
        }
    }
    rows.iter().map(|row| cut(row, most)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_html_understands_is_left() {
        assert_eq!(escape("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
        assert_eq!(escape("a\u{0}b\u{1b}[1m\u{202e}"), "a\u{fffd}b\u{fffd}[1m\u{fffd}");
        assert_eq!(escape("多路\n"), "多路\n");
    }

    #[test]
    fn coordinates_are_short_and_finite() {
        assert_eq!([px(1.0), px(0.25), px(f64::NAN), px(f64::INFINITY)], ["1", "0.2", "0", "0"]);
    }

    #[test]
    fn a_long_name_is_cut_to_its_room() {
        assert_eq!(cut("epoll-et", 10.0), "epoll-et");
        let short = cut(&"x".repeat(200), 10.0);
        assert!(short.ends_with('…') && ems(&short) <= 10.0, "{short}");
        assert!(ems(&cut(&"多".repeat(200), 10.0)) <= 10.0);
    }
}
