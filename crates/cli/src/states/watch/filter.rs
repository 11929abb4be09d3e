//! The filter that is typed after `/`: ports, states and names of processes, apart by blanks. Words of one kind widen it
//! (`close-wait last-ack`), words of different kinds narrow it (`nginx close-wait`).

use crate::inspect::Socket;
use duolu_sys::tcp_diag::TcpState;

/// What was typed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    ports: Vec<u16>,
    states: Vec<TcpState>,
    /// Parts of names, in small letters.
    names: Vec<String>,
}

impl Filter {
    /// Every text means something: a port (`:80`, `80`), a state as the RFC or ss(8) writes it, else a name.
    pub fn parse(text: &str) -> Self {
        let mut filter = Filter::default();
        for word in text.split_whitespace() {
            let port = word.strip_prefix(':').unwrap_or(word).parse().ok().filter(|port| *port != 0);
            match (port, word.parse()) {
                (Some(port), _) => filter.ports.push(port),
                (None, Ok(state)) => filter.states.push(state),
                _ => filter.names.push(word.to_lowercase()),
            }
        }
        filter
    }

    /// The one port that it asks for, and nothing else but states.
    pub fn only_port(&self) -> Option<u16> {
        match (&self.ports[..], self.names.is_empty()) {
            ([port], true) => Some(*port),
            _ => None,
        }
    }

    /// Whether it leaves sockets out of the diagram, which always shows all states.
    pub fn has_pick(&self) -> bool {
        !self.ports.is_empty() || !self.names.is_empty()
    }

    /// Whether the diagram is to count this one.
    pub fn takes(&self, socket: &Socket) -> bool {
        let (local, remote) = socket.tcp.ends();
        let has_port = self.ports.contains(&local.port()) || self.ports.contains(&remote.port());
        let is_named = |name: &String| {
            socket.owners.iter().any(|owner| owner.process.to_lowercase().contains(name.as_str()))
        };
        (self.ports.is_empty() || has_port) && (self.names.is_empty() || self.names.iter().any(is_named))
    }

    /// Whether the table is to list sockets in this state.
    pub fn lists(&self, state: TcpState) -> bool {
        self.states.is_empty() || self.states.contains(&state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_ports_states_or_names() {
        let filter = Filter::parse("  :80 close_wait Nginx estab 8080 ");
        assert_eq!(filter.ports, [80, 8080]);
        assert_eq!(filter.states, [TcpState::CloseWait, TcpState::Established]);
        assert_eq!(filter.names, ["nginx"]);
        assert!(filter.lists(TcpState::CloseWait) && !filter.lists(TcpState::Listen));
        assert_eq!(Filter::parse("99999 0").names, ["99999", "0"], "no ports");
    }

    #[test]
    fn one_port_is_left_to_the_kernel() {
        assert_eq!(Filter::parse(":80 listen").only_port(), Some(80));
        for other in ["", "80 81", ":80 nginx", "listen"] {
            assert_eq!(Filter::parse(other).only_port(), None, "{other}");
        }
        assert!(!Filter::parse("listen").has_pick() && Filter::parse("nginx").has_pick());
    }
}
