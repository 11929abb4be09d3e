//! Errors: told, each once, and the socket goes on.

use crate::stage::Told;
use duolu::datagram::{Address, SendRefused};
use duolu::{DatagramEvent, DatagramOptions};

const ECONNREFUSED: i32 = 111;
const EMSGSIZE: i32 = 90;

scenarios! {
    fn nobody_listens_and_the_socket_goes_on(s) {
        let (client, _taken) = s.sends_nowhere(1, |_, _, _| {});
        s.with(client, |socket| socket.send(b"anybody there?").expect("room"));
        s.until("the error", |s| !s.told(1).is_empty());
        // A Unix socket knows at once; elsewhere an answer comes.
        let told = if s.is_unix() {
            Told::Unsent(ECONNREFUSED, Address::Unnamed, 1)
        } else {
            Told::Error(ECONNREFUSED, Address::Unnamed)
        };
        assert_eq!(s.told(1), [told]);
        s.quiet();
        let (_, somewhere) = s.listen(2);
        s.with(client, |socket| socket.send_to(somewhere, b"still here").expect("room"));
        s.until("it goes on", |s| s.received(2) == [b"still here"]);
    }

    /// The error of the first is told by the call that should send the second, which must not be lost by it.
    fn an_error_costs_no_other_message(s) {
        if s.is_unix() {
            return;
        }
        let (client, _taken) = s.sends_nowhere(1, |_, _, _| {});
        let (_, somewhere) = s.listen(2);
        for at in 0..20 {
            // No turn between them: the error waits in the socket.
            s.with(client, |socket| socket.send(b"anybody there?").expect("room"));
            s.with(client, |socket| socket.send_to(somewhere, &[at]).expect("room"));
        }
        s.until("all of them", |s| s.received(2).len() == 20);
        let told = s.told(1);
        assert!(!told.is_empty() && told.iter().all(|t| *t == Told::Error(ECONNREFUSED, Address::Unnamed)), "{told:?}");
        assert_eq!(s.with(client, |socket| socket.stats().unsent), 0);
    }

    fn a_message_may_be_too_big_for_the_path(s) {
        if s.is_sim() {
            return;
        }
        let said = std::rc::Rc::new(std::cell::RefCell::new(String::new()));
        let says = std::rc::Rc::clone(&said);
        let (client, _) = s.serve(1, DatagramOptions::new().send_limit(10, 20_000_000), move |_, _, event| {
            *says.borrow_mut() = event.to_string();
        });
        let (_, to) = s.listen(2);
        let big = vec![7; if s.is_unix() { 9_000_000 } else { 65_536 }];
        s.with(client, |socket| {
            socket.send_to(to, &big).expect("room");
            socket.send_to(to, &big).expect("room");
            socket.send_to(to, b"small").expect("room");
        });
        s.until("both", |s| !s.told(1).is_empty() && !s.received(2).is_empty());
        assert_eq!(s.told(1), [Told::Unsent(EMSGSIZE, to, 2)]);
        assert_eq!(s.received(2), [b"small"]);
        assert!(said.borrow().starts_with("2 datagrams (the first to ") && said.borrow().contains("too big for the path"));
        assert_eq!(s.with(client, |socket| socket.stats().unsent), 2);
        assert!(SendRefused::Full.to_string().contains("send_limit"));
    }

    /// Who sends again because an error was told does not go round for ever within one turn.
    fn sending_again_after_an_error_leaves_others_their_turn(s) {
        let (client, _taken) = s.sends_nowhere(1, |_, socket, event| {
            if !matches!(event, DatagramEvent::Received(_)) {
                socket.send(b"and now?").expect("room");
            }
        });
        s.with(client, |socket| socket.send(b"anybody there?").expect("room"));
        let mut turns = 0;
        s.until("errors", |s| {
            turns += 1;
            s.told(1).len() >= 40
        });
        assert!(turns >= 5, "{turns} turns");
    }
}
