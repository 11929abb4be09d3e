//! The shell of every page that duolu writes: one file, both languages, light and dark, without a network.
//!
//! Both languages are written out whole, one `<main>` each, and one is shown: so each chart places its labels for
//! the words that it has, each language's text alternatives are its own, and the switch works without a script
//! (two radio buttons and a rule of CSS). The policy in the head forbids every address, so that a browser would
//! refuse to load anything even if something had been smuggled in; without a script of the page's own it forbids
//! scripts too.

use crate::lang::Lang;
use crate::report::markup::escape;
use std::fmt::Write;

/// The look that pages share, for a page's own sheets to build on: its width is `--wide`.
const STYLE: &str = include_str!("shell.css");
const SCRIPT: &str = include_str!("shell.js");

/// What a page is made of, but for its text.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// What the browser's tab says.
    pub title: &'a str,
    /// The language it opens in; `None`: the reader's, which takes a script.
    pub lang: Option<Lang>,
    /// Sheets that come after the shared one.
    pub styles: &'a [&'a str],
    /// What runs after the shared script, which follows the reader's language; `None`: no script at all.
    pub script: Option<&'a str>,
}

impl Page<'_> {
    /// The whole file around what `main` writes for each language: a `<main>` of the class [`Lang::key`].
    pub fn render(&self, mut main: impl FnMut(&mut String, Lang)) -> String {
        let open = self.lang.unwrap_or(Lang::En);
        let (ask, policy) = match (self.script, self.lang) {
            (None, _) => ("", ""),
            (_, None) => (" data-ask=\"reader\"", "; script-src 'unsafe-inline'"),
            (_, Some(_)) => (" data-ask=\"file\"", "; script-src 'unsafe-inline'"),
        };
        let mut html = format!(
            "<!DOCTYPE html>\n<html lang=\"{open}\"{ask}>\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'{policy}\">\n\
             <title>{}</title>\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n",
            escape(self.title),
            self.styles.concat()
        );
        for lang in Lang::BOTH {
            let _ = write!(
                html,
                "<input type=\"radio\" name=\"lang\" id=\"lang-{}\" class=\"lang\"{} aria-label=\"{}\">",
                lang.key(),
                if lang == open { " checked" } else { "" },
                lang.pick("English", "中文")
            );
        }
        html.push_str(
            "\n<p class=\"switch\" aria-hidden=\"true\"><label for=\"lang-en\">English</label>\
             <label for=\"lang-zh\" lang=\"zh-CN\">中文</label></p>\n",
        );
        for lang in Lang::BOTH {
            main(&mut html, lang);
        }
        if let Some(script) = self.script {
            let _ = writeln!(html, "<script>\n{SCRIPT}{script}</script>");
        }
        html + "</body>\n</html>\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(script: Option<&str>, lang: Option<Lang>) -> String {
        let page = Page { title: "<b>", lang, styles: &["a{}\n", "b{}\n"], script };
        page.render(|html, lang| {
            let _ = write!(html, "<main class=\"{}\"></main>", lang.key());
        })
    }

    #[test]
    fn scripts_are_forbidden_where_there_are_none() {
        let still = page(None, Some(Lang::Zh));
        assert!(!still.contains("script") && still.contains("<html lang=\"zh-CN\">"), "{still}");
        assert!(
            still.contains("a{}\nb{}\n</style>") && still.contains("<title>&lt;b&gt;</title>"),
            "{still}"
        );
        assert!(still.contains("id=\"lang-zh\" class=\"lang\" checked"), "{still}");
        let lively = page(Some("go();\n"), None);
        assert!(
            lively.contains("script-src 'unsafe-inline'") && lively.contains("go();\n</script>"),
            "{lively}"
        );
        assert!(lively.contains("data-ask=\"reader\""), "{lively}");
    }
}
