//! An Ethernet cable between a client's network and a server's.

use crate::lab::experiment::Trouble;
use crate::lab::ladder::Who;
use crate::lab::stage::Stage;
use duolu_sys::capture::{Capture, Ways};
use duolu_sys::netns;
use duolu_sys::socket::{self, ListenOptions};
use duolu_sys::tcp_diag::Diag;
use duolu_sys::veth::{Network, offloads};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

/// The client's interface and address.
pub const CLIENT: (&str, Ipv4Addr) = ("client0", Ipv4Addr::new(192, 0, 2, 1));
/// The server's. Both are of the network that documentation uses (RFC 5737).
pub const SERVER: (&str, Ipv4Addr) = ("server0", Ipv4Addr::new(192, 0, 2, 2));

/// The cable. The client's end is in the network of the experiment.
pub struct Cable {
    server: Network,
}

impl Cable {
    /// Lays it. The interfaces cut nothing themselves, so that every packet seen is one that a wire would carry.
    pub fn lay(stage: &mut Stage) -> Result<Self, Trouble> {
        let server = Network::new()?;
        server.connect(CLIENT, SERVER)?;
        offloads(CLIENT.0, false)?;
        server.within(|| offloads(SERVER.0, false))?;
        let diag = server.within(|| Diag::open().map_err(|error| io::Error::other(error.to_string())))?;
        stage.look_at(Capture::open(Ways::Both)?, diag);
        Ok(Cable { server })
    }

    /// The MTU of one end.
    pub fn mtu(&self, who: Who) -> io::Result<u32> {
        match who {
            Who::Client => netns::mtu(CLIENT.0),
            Who::Server => self.server.within(|| netns::mtu(SERVER.0)),
        }
    }

    /// Sets the MTU of each end.
    pub fn set_mtu(&self, client: u32, server: u32) -> io::Result<()> {
        netns::set_mtu(CLIENT.0, client)?;
        self.server.within(|| netns::set_mtu(SERVER.0, server))
    }

    /// A listener at the server's end.
    pub fn listen(&self) -> io::Result<TcpListener> {
        self.server.within(|| socket::listen((SERVER.1, 0).into(), &ListenOptions::default()))
    }

    /// A connection between the two ends.
    pub fn connect(&self, stage: &mut Stage) -> io::Result<(TcpStream, TcpStream)> {
        let listener = self.listen()?;
        super::kit::connect(stage, &listener)
    }
}
