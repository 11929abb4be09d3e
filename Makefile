# Verbs only; what they do is in cargo and scripts/.
.PHONY: run test lint unit sim asan tsan abi fuzz bench bench-libevent peers million whole proxy-crowd tools dist help

help:
	@echo "make run     every I/O model on this machine, side by side (a quick duolu compare)"
	@echo "make test    everything that must hold: lint, unit, scenario, command and simulation tests"
	@echo "make lint    rustfmt, clippy, shellcheck and pyflakes, warnings denied"
	@echo "make unit    the tests without lint and the long simulation"
	@echo "make sim     10,000 simulated seeds; SEED=n replays one, SEEDS=n runs so many"
	@echo "make asan    streams, buffers, the loop, and libevent's stand-in below C programs, under AddressSanitizer"
	@echo "make tsan    libevent's stand-in below C programs, memcached and tmux under ThreadSanitizer"
	@echo "make abi     libevent's stand-in alone: its names, C programs on both libevents, memcached, tmux, sanitizers (6 minutes)"
	@echo "make dist    the command and libevent's stand-in laid out in target/dist, and as a Debian package that replaces nothing"
	@echo "make fuzz    a minute of fuzzing for each target; TARGET=name, SECONDS_EACH=n"
	@echo "make bench   instruction counts and timings against raw epoll and C libevent"
	@echo "make bench-libevent  the same programs on C libevent and on duolu's, in turn (10 minutes)"
	@echo "make peers   the same echo on libevent, libuv, libev, mio, tokio, calloop, monoio, beside duolu (20 minutes)"
	@echo "make million 10k, 100k, 500k, 1M connections at once, and the picture; MODEL=\"io_uring epoll-lt\" RUNGS=\"...\" HOLD=5s"
	@echo "make whole   512 MiB both ways through proxies, TLS, filter and rate limits, with EINTR and short calls: SHA-256 equal; BYTES=n"
	@echo "make proxy-crowd  15,000 connections through the proxy for a minute, spliced and copied, slow readers and deaf ones among them; CROWD=n HOLD=s"

run:
	cargo build --release --quiet -p duolu-cli
	./target/release/duolu compare --quick

test: tools lint unit sim asan tsan whole dist

lint:
	scripts/need.sh shellcheck=shellcheck pyflakes3=pyflakes3
	shellcheck --severity=warning scripts/*.sh bench/*.sh bench/*/*.sh .ci/run
	pyflakes3 scripts/*.py bench/*/*.py
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings

# What the tests talk to and are counted with.
tools:
	scripts/need.sh strace=strace curl=curl wrk=wrk nc=netcat-openbsd memcached=memcached \
	  /usr/sbin/nginx=nginx-light ip=iproute2 ss=iproute2 python3=python3 node=nodejs \
	  redis-server=redis-server /usr/sbin/haproxy=haproxy '/usr/lib/postgresql/*/bin/postgres=postgresql' \
	  systemd-analyze=systemd systemd-socket-activate=systemd \
	  taskset=util-linux prlimit=util-linux setpriv=util-linux unshare=util-linux setpriv=util-linux \
	  '/usr/lib/*/faketime/libfaketime.so.1=faketime' openssl=openssl /etc/ssl/certs/ca-certificates.crt=ca-certificates \
	  memccapable=libmemcached-tools /usr/sbin/pgbouncer=pgbouncer tor=tor psql=postgresql-client /usr/sbin/unbound=unbound turnserver=coturn fstrm_capture=fstrm-bin tmux=tmux script=bsdutils cc=gcc c++=g++ nm=binutils readelf=binutils /usr/include/event2/event.h=libevent-dev

# Each test binary in a network namespace of its own.
APART = CARGO_TARGET_$$(rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_)_RUNNER=$(CURDIR)/scripts/apart.sh

unit:
	cargo build --workspace --all-targets --quiet
	env $(APART) cargo test --workspace --quiet

sim:
	DUOLU_SIM_SEEDS=$(or $(SEEDS),10000) $(if $(SEED),DUOLU_SIM_SEED=$(SEED)) \
	  cargo test --release --quiet -p duolu-sim --test seeds -- --nocapture

# The compiler's own sanitizer, which a stable Rust has too: RUSTC_BOOTSTRAP lifts the bar before -Z.
asan:
	ASAN_OPTIONS=allocator_may_return_null=1 LSAN_OPTIONS=suppressions=$(CURDIR)/scripts/leaks.txt:print_suppressions=0 \
	env $(APART) RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=target/asan cargo test --quiet \
	  --target $$(rustc -vV | sed -n 's/^host: //p') -p duolu-core -p duolu-sys -p duolu --lib --test models \
	  --test streams --test scenarios --test face --test tls
	env $(APART) scripts/sanitize.sh address

# Programs that have no sanitizer above a library that has one.
tsan:
	env $(APART) scripts/sanitize.sh thread

abi: tools
	env $(APART) cargo test --quiet -p duolu-conform -p duolu-libevent
	env $(APART) scripts/sanitize.sh address
	env $(APART) scripts/sanitize.sh thread

# For others: DIST=folder lays it out elsewhere, DEB=0 leaves the package out.
dist:
	scripts/need.sh strip=binutils memcached=memcached
	scripts/dist.sh
	$(if $(DIST)$(DEB),,scripts/dist-check.sh)

fuzz:
	scripts/fuzz.sh

bench:
	scripts/need.sh valgrind=valgrind cc=gcc taskset=util-linux /usr/include/event2/event.h=libevent-dev
	bench/run.sh

bench-libevent:
	scripts/need.sh valgrind=valgrind cc=gcc memcached=memcached /usr/include/event2/event.h=libevent-dev
	bench/libevent/run.py

peers:
	bench/peers/run.sh all

million:
	cargo build --release --quiet -p duolu-cli
	scripts/million.sh

# What is sent and what arrives, both ways, through all of it at once: two proxies as processes, with EINTR and short calls.
# As the other tests are built: optimised it takes half as long, and minutes to build. With BYTES it is.
whole:
	DUOLU_STREAM_BYTES=$(or $(BYTES),536870912) cargo test $(if $(BYTES),--release) --quiet -p duolu-cli --test whole -- --nocapture

# A process has 20,000 descriptors at most, as a rule: the proxy spreads over as many as it takes.
proxy-crowd:
	DUOLU_CROWD=$(or $(CROWD),15000) DUOLU_CROWD_HOLD=$(or $(HOLD),60) \
	  cargo test --release --quiet -p duolu-cli --test proxy_crowd -- --nocapture
