//! How a link comes about: the client's PROXY header, if one is asked for; then an upstream that takes the connection.
//!
//! (a) A connect may want a descriptor when there is none: the client has taken the last one. Then nobody else is let in
//!     for a while, and the link waits for one that becomes free, as long as a connect may take.
//! (b) The client is not read until an upstream has taken the connection: what it sends stays in the kernel and is lost
//!     to none of those that refuse.

use super::link::{End, Link, Phase, Side};
use super::tls::{self, Preface};
use super::{Hall, ProxyIn};
use crate::serve::blocking::BACK_OFF;
use crate::serve::board::Count;
use crate::serve::door;
use duolu::proxy_protocol::{self, Header, Peer, ProxyError, USUAL_MAX_BYTES};
use duolu::{Context, Direction, Layered, Stream, StreamEvent};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

/// How long a client may take to send its PROXY header. A proxy sends it with its first packet, so this is for packets
/// that are lost (as HAProxy's accept-proxy, which is bounded by its timeout for a request).
const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// And to finish its TLS handshake, its header included: four packets' time, over a bad line.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// A client has come.
pub fn begin(ctx: &mut Context<Hall>, stream: TcpStream, peer: SocketAddr) -> Result<(), duolu::Error> {
    let hall = ctx.data();
    let (plan, tally) = (Rc::clone(&hall.plan), hall.door.tally);
    let phase = match plan.proxy_in {
        _ if plan.tls.with_clients() => Phase::Securing,
        Some(_) => Phase::Heading,
        None => Phase::Connecting,
    };
    let link = Link::new(peer, ctx.now(), phase, tally);
    if let Some(version) = plan.proxy_out {
        let local = stream.local_addr()?;
        *link.greeting.borrow_mut() = Some(Header::tcp(version, peer, local));
    }
    let options = ctx.data().options(Side::Client);
    let options = if phase == Phase::Heading { options.read_timeout(HEADER_LIMIT) } else { options };
    let end = End { link: Rc::clone(&link), side: Side::Client };
    let id = if phase == Phase::Securing {
        let secured = plan.tls.accept(stream, plan.proxy_in).map_err(io::Error::from)?;
        ctx.stream(secured, options.write_timeout(HANDSHAKE_LIMIT), end)?
    } else {
        ctx.stream(stream, options, end)?
    };
    link.set_stream(Side::Client, id);
    if phase == Phase::Connecting {
        link.with(ctx, Side::Client, |client| client.suspend(Direction::Read)); // (b)
        find_upstream(ctx, &link);
    }
    Ok(())
}

/// What happens to either stream until the link is open.
pub fn event(
    link: &Rc<Link>,
    side: Side,
    ctx: &mut Context<Hall>,
    stream: &mut Stream<'_>,
    event: StreamEvent,
) {
    match (side, link.phase.get()) {
        (Side::Client, Phase::Heading) => heading(link, ctx, stream, event),
        (Side::Client, Phase::Securing) => securing(link, ctx, stream, event),
        (Side::Client, _) => waiting(link, ctx, event),
        (Side::Upstream, _) => connecting(link, ctx, stream, event),
    }
}

/// The client's first bytes.
fn heading(link: &Rc<Link>, ctx: &mut Context<Hall>, client: &mut Stream<'_>, event: StreamEvent) {
    let may_be_none = ctx.data().plan.proxy_in == Some(ProxyIn::Accept);
    let late = Duration::from_nanos(ctx.now().saturating_nanos_since(link.moved_at.get())) >= HEADER_LIMIT;
    let is_silent = client.input().is_empty();
    match event {
        StreamEvent::Read => match proxy_protocol::take(client, USUAL_MAX_BYTES) {
            Ok(Some(header)) => start(link, ctx, client, Some(header)),
            Ok(None) if late => refuse(link, ctx, client, "has not sent its whole PROXY header in time"),
            Ok(None) => {}
            Err(ProxyError::NoHeader) if may_be_none => start(link, ctx, client, None),
            Err(error) => refuse(link, ctx, client, &format!("is refused: {error} (--proxy-in)")),
        },
        // It may be one who lets the server speak first.
        StreamEvent::Timeout(direction) if may_be_none && is_silent => {
            client.enable(direction);
            start(link, ctx, client, None);
        }
        StreamEvent::Timeout(_) => refuse(link, ctx, client, "has not sent a PROXY header in time"),
        StreamEvent::Eof if may_be_none => {
            link.has_ended(Side::Client);
            start(link, ctx, client, None);
        }
        StreamEvent::Eof => refuse(link, ctx, client, "has ended without a PROXY header"),
        StreamEvent::Connected | StreamEvent::Written | StreamEvent::Error(..) => {}
    }
}

fn refuse(link: &Link, ctx: &mut Context<Hall>, client: &mut Stream<'_>, why: &str) {
    let hall = ctx.data();
    hall.door.tally.add(Count::HeaderErrors, 1);
    hall.misled.say(|| format!("{} {why}", link.peer));
    client.reset();
}

/// It is known for whom the connection is.
fn start(link: &Rc<Link>, ctx: &mut Context<Hall>, client: &mut Stream<'_>, header: Option<Header>) {
    let plan = Rc::clone(&ctx.data().plan);
    link.phase.set(Phase::Connecting);
    client.set_timeout(Direction::Read, Some(plan.idle));
    client.suspend(Direction::Read); // (b)
    // Who does not know more than we do is not passed on: the greeting says already whom we see.
    if let (Some(version), Some(Header { peer, .. })) = (plan.proxy_out, header)
        && peer != Peer::Unknown
        && (peer != Peer::Local || version == proxy_protocol::Version::V2)
    {
        *link.greeting.borrow_mut() = Some(Header { version, peer, tlvs: proxy_protocol::Tlvs::new() });
    }
    if let Some(info) = client.tls() {
        if let Some(header) = &mut *link.greeting.borrow_mut()
            && header.version == proxy_protocol::Version::V2
            && matches!(header.peer, Peer::Inet { .. })
        {
            let _ = tls::tell(&info, &mut header.tlvs); // names too long for a header are not told
        }
        *link.agreed.borrow_mut() = info.alpn;
    }
    if !try_upstreams(ctx, link) {
        client.reset();
    }
}

/// The client's TLS handshake.
fn securing(link: &Rc<Link>, ctx: &mut Context<Hall>, client: &mut Stream<'_>, event: StreamEvent) {
    let why = match event {
        StreamEvent::Connected => {
            client.set_timeout(Direction::Write, Some(ctx.data().plan.idle));
            let header = client.layer::<Preface>().and_then(|preface| preface.header.take());
            return start(link, ctx, client, header);
        }
        StreamEvent::Error(_, errno) => match client.layer_error() {
            Some(error) => error.to_string(),
            None => io::Error::from_raw_os_error(errno.0).to_string(),
        },
        StreamEvent::Timeout(_) => format!("not over within {HANDSHAKE_LIMIT:?}"),
        _ => return,
    };
    let hall = ctx.data();
    hall.door.tally.add(Count::TlsErrors, 1);
    hall.unsecured.say(|| format!("no TLS with {}: {why}", link.peer));
}

/// The client while it waits for an upstream. It is not read, so there is not much that can happen.
fn waiting(link: &Link, ctx: &mut Context<Hall>, event: StreamEvent) {
    match event {
        StreamEvent::Eof => link.has_ended(Side::Client),
        StreamEvent::Error(..) => {
            link.with(ctx, Side::Upstream, |upstream| upstream.reset());
        }
        _ => {}
    }
}

/// The upstream that was asked.
fn connecting(link: &Rc<Link>, ctx: &mut Context<Hall>, upstream: &mut Stream<'_>, event: StreamEvent) {
    let why = match event {
        StreamEvent::Connected => return link.open(ctx, upstream),
        StreamEvent::Error(_, errno) => match upstream.layer_error() {
            Some(error) => error.to_string(),
            None => io::Error::from_raw_os_error(errno.0).to_string(),
        },
        StreamEvent::Timeout(_) => {
            format!("no answer within {:?} (--connect-timeout)", ctx.data().plan.connect_timeout)
        }
        _ => return,
    };
    has_failed(ctx, link.upstream.get(), &why);
    find_upstream(ctx, link);
}

/// Finds an upstream, or resets the client. Not from within the client's callback.
fn find_upstream(ctx: &mut Context<Hall>, link: &Rc<Link>) {
    if !try_upstreams(ctx, link) {
        link.with(ctx, Side::Client, |client| client.reset());
    }
}

/// Begins to connect, or has the link wait for a descriptor. False: there is no upstream left to be tried.
fn try_upstreams(ctx: &mut Context<Hall>, link: &Rc<Link>) -> bool {
    let plan = Rc::clone(&ctx.data().plan);
    loop {
        let (now, mut tried) = (ctx.now(), link.tried.get());
        let Some((index, address)) = ctx.data().upstreams.next(&mut tried, now) else { break };
        link.tried.set(tried);
        link.upstream.set(index);
        let options = ctx.data().options(Side::Upstream).write_timeout(plan.connect_timeout);
        let end = End { link: Rc::clone(link), side: Side::Upstream };
        let begun = if plan.tls.with_upstreams() {
            let secure = |session| {
                let upon = |socket| Layered::new(tls::preface(socket, link.greeting()), session);
                ctx.connect_through(address, upon, options, end)
            };
            let session = plan.tls.session(link.agreed.borrow().clone());
            session.map_err(|error| io::Error::from(error).into()).and_then(secure)
        } else {
            ctx.connect(address, options, end)
        };
        match begun {
            Ok(id) => {
                link.set_stream(Side::Upstream, id);
                return true;
            }
            Err(duolu::Error::Io(error)) if is_exhaustion(&error) => {
                tried.forget(index);
                link.tried.set(tried);
                wait_for_descriptor(ctx, link, &error);
                return true;
            }
            Err(duolu::Error::Io(error)) => has_failed(ctx, index, &error.to_string()),
            Err(error) => has_failed(ctx, index, &error.to_string()),
        }
    }
    let peer = link.peer;
    ctx.data().given_up.say(|| format!("no upstream takes the connection of {peer}: it is reset"));
    false
}

fn has_failed(ctx: &mut Context<Hall>, upstream: usize, why: &str) {
    let now = ctx.now();
    let hall = ctx.data();
    hall.upstreams.has_failed(upstream, now);
    hall.door.tally.add(Count::UpstreamErrors, 1);
    let address = hall.upstreams.address(upstream);
    hall.failed.say(|| format!("cannot connect to {address}: {why}"));
}

fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

/// Trap (a).
fn wait_for_descriptor(ctx: &mut Context<Hall>, link: &Rc<Link>, error: &io::Error) {
    let hall = ctx.data();
    hall.exhausted.say(|| {
        format!(
            "cannot connect: {error}; connections wait (a proxy takes two descriptors for each: raise 'ulimit -n' before \
             starting, or see --processes and --max-connections)"
        )
    });
    hall.waiting.push_back(Rc::clone(link));
    if hall.waiting.len() == 1 {
        ctx.after(BACK_OFF, try_again);
    }
    door::rest(ctx);
}

fn try_again(ctx: &mut Context<Hall>) {
    let mut waiting = std::mem::take(&mut ctx.data().waiting);
    while let Some(link) = waiting.pop_front() {
        let waited = Duration::from_nanos(ctx.now().saturating_nanos_since(link.moved_at.get()));
        if waited >= ctx.data().plan.connect_timeout {
            let peer = link.peer;
            ctx.data().given_up.say(|| format!("no descriptor for the connection of {peer}: it is reset"));
            ctx.data().door.tally.add(Count::UpstreamErrors, 1);
            link.with(ctx, Side::Client, |client| client.reset());
            continue;
        }
        find_upstream(ctx, &link);
        if !ctx.data().waiting.is_empty() {
            break; // still none, and so the others need not ask
        }
    }
    ctx.data().waiting.append(&mut waiting);
}
