//! `-o`: the picture as a file, well-formed, whole, and with the numbers of what the test did.

use crate::kit::*;
use crate::looking::wait_until_it_has_looked;
use std::collections::HashSet;
use std::io::Read;
use std::path::PathBuf;
use std::process::Stdio;

/// A file of this test, removed with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        Place(std::env::temp_dir().join(format!("duolu-{}-{name}", std::process::id())))
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).expect("written")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Reads markup as XML does: every tag is closed in its order, every attribute quoted, no name of an element twice.
fn is_well_formed(text: &str) {
    const VOID: [&str; 3] = ["meta", "input", "br"];
    let (mut open, mut ids): (Vec<&str>, HashSet<&str>) = (Vec::new(), HashSet::new());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains('>'), "a stray > before {}", &rest[at..rest.len().min(at + 60)]);
        let after = &rest[at + 1..];
        let end = after.find('>').expect("a tag ends");
        let tag = &after[..end];
        rest = &after[end + 1..];
        if tag.starts_with('!') || tag.starts_with('?') {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closes what is open");
            continue;
        }
        let name = tag.split(|c: char| c.is_whitespace() || c == '/').next().expect("a name");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if let Some(id) = tag.split(" id=\"").nth(1).and_then(|rest| rest.split('"').next()) {
            assert!(ids.insert(id), "{id} twice");
        }
        if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
        if name == "style" || name == "script" {
            let close = format!("</{name}>");
            let end = rest.find(&close).expect("it ends");
            rest = &rest[end..];
        }
    }
    assert!(open.is_empty(), "never closed: {open:?}");
}

/// Connections that come and go while the file is made.
fn draw(place: &Place, more: &str, connections: usize) {
    let stage = Stage::new();
    let args = format!(":{} -o {} -d 2s {more}", stage.port, place.0.display());
    let child = command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("duolu runs");
    wait_until_it_has_looked(child.id());
    for _ in 0..connections {
        let (client, mut server) = stage.pair();
        drop(client);
        assert_eq!(server.read(&mut [0; 1]).expect("the end"), 0);
    }
    let run = Run::of(child.wait_with_output().expect("it ends"));
    assert_eq!((run.code, run.stderr.contains("wrote")), (Some(0), true), "{}", run.stderr);
}

/// The row of the table of transitions: how many in all.
fn total(page: &str, edge: &str) -> u64 {
    let row = page.split(&format!("<th scope=\"row\">{edge}</th>")).nth(1).expect("a row");
    let cell = row.split("<td class=\"n\">").nth(2).and_then(|cell| cell.split('<').next());
    cell.and_then(|cell| cell.replace(',', "").parse().ok()).expect("a number")
}

#[test]
fn the_page_has_the_numbers_of_what_happened_either_way() {
    let without_root = std::env::var_os("DUOLU_TEST_NO_ROOT").is_some_and(|value| value == "1");
    let ways: &[&str] = if without_root { &["sample"] } else { &["sample", "trace"] };
    for via in ways {
        let place = Place::new(&format!("{via}.html"));
        draw(&place, &format!("--via {via}"), 25);
        let page = place.text();
        is_well_formed(&page);
        for edge in [
            "CLOSED → SYN-SENT",
            "SYN-SENT → ESTABLISHED",
            "LISTEN → SYN-RECEIVED",
            "SYN-RECEIVED → ESTABLISHED",
            "ESTABLISHED → FIN-WAIT-1",
            "FIN-WAIT-1 → FIN-WAIT-2",
            "FIN-WAIT-2 → TIME-WAIT",
            "ESTABLISHED → CLOSE-WAIT",
            "CLOSE-WAIT → LAST-ACK",
            "LAST-ACK → CLOSED",
        ] {
            assert_eq!(total(&page, edge), 25, "{edge} via {via}");
        }
        assert_eq!(total(&page, "TIME-WAIT → CLOSED"), 0);
        for there in
            ["<main lang=\"en\"", "<main lang=\"zh-CN\"", "TCP 状态", "prefers-color-scheme", "@media print"]
        {
            assert!(page.contains(there), "{there}");
        }
        assert!(
            !page.contains("http:")
                || page.matches("http:").all(|_| page.contains("http://www.w3.org/2000/svg"))
        );
        assert!(page.contains("default-src 'none'"), "nothing is ever loaded");
    }
}

#[test]
fn the_drawing_is_a_file_of_its_own_in_the_language_asked_for() {
    let place = Place::new("states.svg");
    draw(&place, "--lang zh", 3);
    let svg = place.text();
    is_well_formed(&svg);
    assert!(svg.starts_with("<?xml") && svg.trim_end().ends_with("</svg>"));
    for there in
        ["<title", "<desc", "TIME-WAIT 3", "套接字", "收 FIN", "prefers-color-scheme", "role=\"img\""]
    {
        assert!(svg.contains(there), "{there}");
    }
}

#[test]
fn what_cannot_be_drawn_is_refused_in_time() {
    for (args, code, said) in [
        ("-o states.png", 2, "FILE.html or FILE.svg"),
        ("-o x.html -d 2h", 2, "1h"),
        ("-o x.html --json", 2, "--json"),
        ("-o /nowhere/at/all.html -d 100ms", 3, "/nowhere/at/all.html"),
        (":1 -o x.html -d 100ms", 3, "nothing listens"),
    ] {
        let run = states(args);
        assert_eq!(run.code, Some(code), "{args}: {}", run.stderr);
        assert!(run.stderr.contains(said), "{args}: {}", run.stderr);
    }
}
