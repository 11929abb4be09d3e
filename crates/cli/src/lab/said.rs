//! A sentence in both languages, side by side so that neither is forgotten.

use crate::lang::Lang;
use std::borrow::Cow;

/// A sentence in English and in Chinese.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    en: Cow<'static, str>,
    zh: Cow<'static, str>,
}

/// A sentence known beforehand.
pub const fn said(en: &'static str, zh: &'static str) -> Said {
    Said { en: Cow::Borrowed(en), zh: Cow::Borrowed(zh) }
}

impl Said {
    /// The same in both: a name, a number, a call.
    pub fn same(text: impl Into<String>) -> Self {
        let text = text.into();
        Said { en: text.clone().into(), zh: text.into() }
    }

    /// A sentence made for each language.
    pub fn of(make: impl Fn(Lang) -> String) -> Self {
        Said { en: make(Lang::En).into(), zh: make(Lang::Zh).into() }
    }

    /// The sentence in one language.
    pub fn pick(&self, lang: Lang) -> &str {
        lang.pick(&self.en, &self.zh)
    }
}

impl From<(&'static str, &'static str)> for Said {
    fn from((en, zh): (&'static str, &'static str)) -> Self {
        said(en, zh)
    }
}

impl From<(String, String)> for Said {
    fn from((en, zh): (String, String)) -> Self {
        Said { en: en.into(), zh: zh.into() }
    }
}
