//! Sentences that the terminal and the page share: how it is known what moved, and what is not seen.

use super::picture::{How, Picture};
use super::step::Other;
use crate::lang::Lang;

/// How it is known, in one line of at most 78 columns.
pub fn how(picture: &Picture, lang: Lang) -> String {
    match (&picture.how, lang) {
        (How::Traced { lost: 0 }, _) => lang
            .pick(
                "Edges: every change, told by the kernel; around TIME-WAIT inferred.",
                "边：内核报告的每一次变化；TIME-WAIT 前后由快照推断。",
            )
            .to_owned(),
        (How::Traced { lost }, Lang::En) => {
            format!("Edges: told by the kernel; {lost} changes came too fast and are lost.")
        }
        (How::Traced { lost }, Lang::Zh) => format!("边：由内核报告；变化太快，丢失了 {lost} 次。"),
        (How::Sampled { .. }, _) => lang
            .pick(
                "Edges: inferred from one look to the next; resets in between are not seen.",
                "边：由前后两次快照推断；两次之间的重置看不到。",
            )
            .to_owned(),
    }
}

/// The whole of it, for help and page.
pub fn caveats(picture: &Picture, lang: Lang) -> Vec<String> {
    let mut said = Vec::new();
    match &picture.how {
        How::Traced { lost } => {
            said.push(
                lang.pick(
                    "Every change is told by the kernel (tracepoint sock:inet_sock_set_state), of this network namespace only. The kernel never tells TIME-WAIT: who enters and leaves it is inferred from one look to the next.",
                    "每一次变化都由内核报告（跟踪点 sock:inet_sock_set_state），只计本网络命名空间。内核从不报告 TIME-WAIT：谁进入、谁离开，由前后两次快照推断。",
                )
                .to_owned(),
            );
            said.push(
                lang.pick(
                    "Linux makes a socket of a handshake only when it is over: LISTEN → SYN-RECEIVED is counted then, together with SYN-RECEIVED → ESTABLISHED. Handshakes that hang stand in SYN-RECEIVED, but on no edge.",
                    "握手完成之后，Linux 才为它建立套接字：LISTEN → SYN-RECEIVED 到那时才和 SYN-RECEIVED → ESTABLISHED 一起计数。卡住的握手只出现在 SYN-RECEIVED 状态里，不出现在边上。",
                )
                .to_owned(),
            );
            if *lost > 0 {
                said.push(match lang {
                    Lang::En => {
                        format!("{lost} changes came faster than they could be fetched, and are not counted.")
                    }
                    Lang::Zh => format!("有 {lost} 次变化来得太快，没有取到，没有计入。"),
                });
            }
        }
        How::Sampled { refused } => {
            said.push(
                lang.pick(
                    "What moved is inferred from one look at the sockets to the next. A connection that came and went in between is known only by the TIME-WAIT that it leaves; one that was reset in between is not seen at all.",
                    "移动的次数由前后两次快照推断。在两次之间建立又结束的连接，只能从它留下的 TIME-WAIT 得知；在两次之间被重置的，完全看不到。",
                )
                .to_owned(),
            );
            said.extend(refused.as_ref().map(|why| why.unlock(lang)));
        }
    }
    said.push(
        lang.pick(
            "accept() moves nothing: the connection is ESTABLISHED before, and only gets a descriptor. close() moves something only when it closes the last descriptor (dup, fork); shutdown() does at once.",
            "accept() 不改变状态：连接早已是 ESTABLISHED，只是得到一个描述符。close() 要关到最后一个描述符（dup、fork）才起作用；shutdown() 立即生效。",
        )
        .to_owned(),
    );
    said
}

/// What moved, and is not in the figure: `cut off (RST, timeout) 3/s`.
pub fn others(picture: &Picture, lang: Lang) -> Vec<String> {
    let told =
        |other: Other| picture.other_figure(other).map(|figure| format!("{} {figure}", other.name(lang)));
    Other::ALL.into_iter().filter_map(told).collect()
}

/// Who keeps sockets in CLOSE-WAIT: `! 3 in CLOSE-WAIT for over 60 s: server (4711) 3`.
pub fn stale(picture: &Picture, keepers: &[(String, u32, u64)], lang: Lang) -> Option<String> {
    if picture.stale == 0 {
        return None;
    }
    let all = crate::walls::grouped(picture.stale);
    let named: Vec<String> = keepers
        .iter()
        .take(3)
        .map(|(name, pid, count)| format!("{name} ({pid}) {}", crate::walls::grouped(*count)))
        .collect();
    let who = match (&named[..], lang) {
        ([], Lang::En) => "; the program has not called close()".to_owned(),
        ([], Lang::Zh) => "；程序没有调用 close()".to_owned(),
        (named, Lang::En) => format!(", close() is missing in: {}", lang.list(named)),
        (named, Lang::Zh) => format!("，没有 close() 的程序：{}", lang.list(named)),
    };
    Some(match lang {
        Lang::En => format!("! {all} in CLOSE-WAIT for over 60 s{who}"),
        Lang::Zh => format!("! {all} 个停在 CLOSE-WAIT 超过 60 秒{who}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::states::transitions::Refusal;
    use ratatui::text::Span;

    #[test]
    fn every_way_to_know_fits_a_line_and_says_what_it_cannot_see() {
        let ways = [
            How::Traced { lost: 0 },
            How::Traced { lost: 1_234_567 },
            How::Sampled { refused: None },
            How::Sampled { refused: Some(Refusal::Filtered) },
            How::Sampled { refused: Some(Refusal::Kernel("EACCES".into())) },
        ];
        for way in ways {
            let picture = Picture::empty(way.clone());
            for lang in Lang::BOTH {
                let line = how(&picture, lang);
                assert!(Span::raw(&line).width() <= 78, "{line}");
                let all = caveats(&picture, lang).join(" ");
                match &way {
                    How::Traced { .. } => {
                        assert!(all.contains("TIME-WAIT") && all.contains("inet_sock_set_state"))
                    }
                    How::Sampled { refused: Some(Refusal::Kernel(_)) } => {
                        assert!(all.contains("EACCES") && all.contains("sudo"), "{all}");
                    }
                    How::Sampled { .. } => assert!(all.contains(lang.pick("reset", "重置")), "{all}"),
                }
            }
        }
    }

    #[test]
    fn whoever_forgot_to_close_is_named() {
        let mut picture = Picture::empty(How::Sampled { refused: None });
        assert_eq!(stale(&picture, &[], Lang::En), None);
        picture.stale = 3;
        let said = stale(&picture, &[("server".into(), 4711, 3)], Lang::En);
        assert_eq!(
            said.as_deref(),
            Some("! 3 in CLOSE-WAIT for over 60 s, close() is missing in: server (4711) 3")
        );
        assert!(stale(&picture, &[], Lang::Zh).is_some_and(|said| said.contains("CLOSE-WAIT")));
    }
}
