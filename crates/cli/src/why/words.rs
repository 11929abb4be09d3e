//! Both languages at once: a sentence and its translation stand side by side where they are made.

/// Formats a sentence in both languages with the same values: `said!("{n} threads", "{n} 个线程")`.
macro_rules! said {
    ($en:literal, $zh:literal $(,)?) => {
        $crate::lab::said::Said::from((format!($en), format!($zh)))
    };
}
pub(crate) use said;

/// `1 thread`, `2 threads`.
pub fn plural<'a>(count: u64, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}
