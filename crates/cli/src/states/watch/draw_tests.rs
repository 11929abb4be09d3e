//! The view on a pretended terminal: known numbers against known screens, keys pressed, sizes changed.
//!
//! `DUOLU_BLESS=1 cargo test` writes the screens anew after a deliberate change; read the difference.

use super::*;
use crate::inspect::{Owner, Role, Snapshot, Socket, Source, Unread};
use crate::states::diagram::paint::Ink;
use crate::states::diagram::{How, Other};
use crate::states::transitions::{Look, Refusal};
use crate::states::watch::app::Action;
use duolu_sys::tcp_diag::{StateSet, TcpSocket};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::time::{Duration, Instant, SystemTime};

fn socket(state: TcpState, local: &str, remote: &str, owner: Option<(&str, u32)>) -> Socket {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let tcp = TcpSocket {
        state,
        local: address(local),
        remote: address(remote),
        inode: owner.map_or(0, |owner| u64::from(owner.1)),
        uid: 0,
        recv_q: 0,
        send_q: Some(if state == TcpState::Listen { 128 } else { 0 }),
        timer: None,
        cookie: 0,
        shutdown: None,
        only_v6: None,
        info: None,
        memory: None,
        congestion: None,
    };
    let owners = owner.map(|(name, pid)| Owner { pid, fd: 3, process: name.into() });
    let role = match (state, tcp.local.port()) {
        (TcpState::Listen, _) => Role::Listener,
        (_, 8080) => Role::Server,
        _ => Role::Client,
    };
    Socket { tcp, owners: owners.into_iter().collect(), peer: None, role, seen_since: None }
}

/// A listener, one connection to itself for each port from 50,000 on, and numbers as a busy server has them.
fn look(connections: u16, how: How) -> Look {
    let mut sockets = vec![socket(TcpState::Listen, "127.0.0.1:8080", "0.0.0.0:0", Some(("server", 4711)))];
    for port in 0..connections {
        let (at, client) = (sockets.len(), format!("127.0.0.1:{}", 50_000 + port));
        let mut one = socket(TcpState::Established, &client, "127.0.0.1:8080", Some(("client", 4712)));
        let mut other = socket(TcpState::Established, "127.0.0.1:8080", &client, Some(("server", 4711)));
        (one.peer, other.peer) = (Some(at + 1), Some(at));
        sockets.extend([one, other]);
    }
    let mut picture = Picture::empty(how);
    for (state, count) in [
        (TcpState::Listen, 1),
        (TcpState::Established, 10_000),
        (TcpState::FinWait2, 3),
        (TcpState::CloseWait, 12),
        (TcpState::TimeWait, 28_231),
    ] {
        picture.set(state, count);
    }
    for edge in Edge::ALL.into_iter().filter(|edge| edge.path() != Path::Rare) {
        picture.lately.take_many(edge, 470);
        picture.since.take_many(edge, 12_000);
    }
    picture.since.take_many(Edge::ListenerClosed, 3);
    picture.lately.other(Other::CutOff);
    picture.since.other(Other::CutOff);
    (picture.span, picture.queue, picture.stale) = (Duration::from_secs(1), Some((3, 128)), 9);
    let snapshot = Snapshot {
        sockets,
        source: Source::SockDiag,
        unread: Unread::default(),
        taken_at: Instant::now(),
        clock: SystemTime::now(),
    };
    Look { snapshot, picture, keepers: vec![("server".into(), 4711, 9)] }
}

fn app(lang: Lang) -> App {
    let mut app = App::new(Some(":8080".into()), lang, Ink { color: false }, StateSet::ALL);
    app.show(look(40, How::Traced { lost: 0 }), |_| true);
    app
}

/// The screen as text, without blanks at the ends of lines.
fn screen(app: &mut App, (width, height): (u16, u16)) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a pretended terminal");
    terminal.draw(|frame| draw(frame, app)).expect("drawn");
    let buffer = terminal.backend().buffer();
    (0..height)
        .map(|y| {
            let (mut text, mut x) = (String::new(), 0);
            while x < width {
                let symbol = buffer[(x, y)].symbol();
                text.push_str(symbol);
                // A wide letter takes two cells.
                x += (Span::raw(symbol).width() as u16).max(1);
            }
            text.trim_end().to_owned()
        })
        .collect()
}

fn press(app: &mut App, keys: &str) -> Option<Action> {
    let code = |key| match key {
        '\t' => KeyCode::Tab,
        '\n' => KeyCode::Enter,
        '\x1b' => KeyCode::Esc,
        letter => KeyCode::Char(letter),
    };
    keys.chars().map(|key| app.key(KeyEvent::new(code(key), KeyModifiers::NONE))).last().flatten()
}

#[test]
fn known_numbers_make_known_screens() {
    for (size, lang) in
        [((80, 24), Lang::En), ((80, 24), Lang::Zh), ((120, 40), Lang::En), ((120, 40), Lang::Zh)]
    {
        let shown = screen(&mut app(lang), size).join("\n") + "\n";
        let name = format!("src/states/watch/golden/{}x{}.{}.txt", size.0, size.1, lang.key());
        let path = FilePath::new(env!("CARGO_MANIFEST_DIR")).join(name);
        if std::env::var_os("DUOLU_BLESS").is_some() {
            std::fs::write(&path, &shown).expect("written");
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(shown, expected, "{}:\n{shown}", path.display());
    }
}

#[test]
fn at_eighty_columns_and_twenty_four_lines_everything_is_there() {
    for lang in Lang::BOTH {
        let all = screen(&mut app(lang), (80, 24)).join("\n");
        for state in TcpState::ALL {
            assert!(all.contains(&format!("[{state} ")), "{state}");
        }
        for edge in Edge::ALL {
            let cause = edge.cause(lang);
            let first = cause.split(' ').next().unwrap_or_default();
            assert!(all.contains(first), "{edge:?}: {cause}");
        }
        assert!(all.contains("server (4711) 9") && all.contains("470/s") && all.contains("×3"), "{all}");
        assert!(all.contains(Path::Rare.name(lang)) && all.contains("TIME-WAIT"), "the legend is whole");
    }
}

#[test]
fn where_the_diagram_does_not_fit_the_counts_stand_in_lines() {
    for size in [(60, 24), (200, 18), (40, 14)] {
        let all = screen(&mut app(Lang::En), size).join("\n");
        assert!(!all.contains("[LISTEN"), "{all}");
        for expected in ["ESTABLISHED", "10,000", "TIME-WAIT", "28,231"] {
            assert!(all.contains(expected), "{size:?}: {all}");
        }
    }
    let all = screen(&mut app(Lang::En), (60, 24)).join("\n");
    assert!(all.contains("78 columns and 21 rows") && all.contains("! 9 in CLOSE-WAIT"), "{all}");
    for size in [(1, 1), (3, 2), (10, 3), (78, 21), (79, 22)] {
        screen(&mut app(Lang::Zh), size);
    }
}

#[test]
fn the_table_scrolls_sorts_and_ends_where_it_ends() {
    let mut app = app(Lang::En);
    assert_eq!(press(&mut app, "\t"), Some(Action::Redraw));
    let first = screen(&mut app, (100, 24));
    assert!(first[1].contains("ACCEPT QUEUE") && first[2].contains("server 4711/3"), "{first:#?}");
    assert!(first.iter().any(|line| line.contains(":50000")), "{first:#?}");
    assert!(first[22].contains("1 to 17 of 40 connections, by state"), "{first:#?}");
    press(&mut app, "G");
    let last = screen(&mut app, (100, 24));
    assert!(last[22].contains("24 to 40 of 40"), "{last:#?}");
    assert!(last[21].contains(":50039"), "{last:#?}");
    press(&mut app, "j");
    assert_eq!(screen(&mut app, (100, 24)), last, "there is nothing below");
    press(&mut app, "kk");
    assert!(screen(&mut app, (100, 24))[22].contains("22 to 38"));
    for sort in ["age", "queues", "process", "address", "state"] {
        press(&mut app, "s");
        assert!(screen(&mut app, (100, 24))[22].ends_with(&format!("by {sort}")), "{sort}");
    }
    press(&mut app, "\t");
    assert!(screen(&mut app, (100, 24)).join("").contains("[LISTEN"));
}

#[test]
fn a_filter_is_typed_seen_applied_and_left() {
    let mut app = app(Lang::En);
    press(&mut app, "/:8080 cl");
    assert!(screen(&mut app, (80, 24))[23].starts_with(" /:8080 cl "), "q and p are letters here");
    assert_eq!(press(&mut app, "\x1b"), Some(Action::Redraw));
    assert_eq!(app.typed, "", "Esc leaves it");
    assert_eq!(press(&mut app, "/close-wait listen\n"), Some(Action::Redraw), "the diagram keeps its sums");
    press(&mut app, "\t");
    let table = screen(&mut app, (80, 24)).join("\n");
    assert!(table.contains("LISTEN") && table.contains("no connections"), "{table}");
    assert!(table.contains("/close-wait listen"), "the title says what is left out");
    assert_eq!(press(&mut app, "\x1b"), Some(Action::Redraw));
    assert_eq!(press(&mut app, "/nginx\n"), Some(Action::Refilter), "other sockets are looked at");
    assert_eq!(press(&mut app, "\x1b"), Some(Action::Refilter));
}

#[test]
fn keys_do_what_the_last_line_says() {
    let mut app = app(Lang::En);
    assert_eq!(press(&mut app, "q"), Some(Action::Quit));
    assert_eq!(app.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Some(Action::Interrupted));
    assert_eq!(app.key(KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL)), Some(Action::Suspend));
    press(&mut app, " ");
    assert!(app.is_paused() && screen(&mut app, (80, 24))[0].ends_with("PAUSED"));
    press(&mut app, "p");
    assert!(!app.is_paused());
    press(&mut app, "?");
    let help = screen(&mut app, (80, 24));
    assert!(help[1].contains("Keys") && help.join("\n").contains("fg goes on"), "{help:#?}");
    press(&mut app, "G");
    assert!(screen(&mut app, (80, 24)).join("\n").contains("TCP_REPAIR"), "the end of the help");
    press(&mut app, "\x1b");
    assert!(!app.help);
    press(&mut app, "l");
    assert!(screen(&mut app, (80, 24)).join("\n").contains("退出"));
    assert_eq!(press(&mut app, "x"), None);
}

#[test]
fn how_it_is_known_is_always_said_and_a_failed_look_is_too() {
    let mut app = app(Lang::En);
    let refused = Refusal::Kernel("perf_event_open: EACCES".into());
    app.show(look(1, How::Sampled { refused: Some(refused) }), |_| true);
    assert!(screen(&mut app, (80, 24))[22].contains("inferred from one look to the next"));
    press(&mut app, "?");
    let help = screen(&mut app, (80, 60)).join("\n");
    assert!(help.contains("EACCES") && help.contains("sudo"), "{help}");
    app.fail("no descriptor left".into());
    assert!(screen(&mut app, (80, 24))[0].ends_with("no descriptor left"));
}
