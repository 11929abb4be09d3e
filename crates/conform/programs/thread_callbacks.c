/* The application's own locks: every allocation freed, every lock unlocked, conditions used when event_del must wait. */
#include "conform.h"
#include <event2/event_struct.h>
#include <pthread.h>

static int locks, lock_frees, held, conditions, condition_frees, recursive, wrong;
static pthread_mutex_t count = PTHREAD_MUTEX_INITIALIZER;

static void add(int *to, int n)
{
	pthread_mutex_lock(&count);
	*to += n;
	if (*to < 0)
		wrong++;
	pthread_mutex_unlock(&count);
}

static void *lock_alloc(unsigned type)
{
	pthread_mutexattr_t attributes;
	pthread_mutex_t *lock = malloc(sizeof *lock);

	pthread_mutexattr_init(&attributes);
	if (type & EVTHREAD_LOCKTYPE_RECURSIVE) {
		pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
		add(&recursive, 1);
	}
	pthread_mutex_init(lock, &attributes);
	add(&locks, 1);
	return lock;
}

static void lock_free(void *lock, unsigned type)
{
	pthread_mutex_destroy(lock);
	free(lock);
	add(&lock_frees, 1);
}

static int lock_lock(unsigned mode, void *lock)
{
	int result = mode & EVTHREAD_TRY ? pthread_mutex_trylock(lock) : pthread_mutex_lock(lock);

	if (!result)
		add(&held, 1);
	return result;
}

static int lock_unlock(unsigned mode, void *lock)
{
	add(&held, -1);
	return pthread_mutex_unlock(lock);
}

static void *condition_alloc(unsigned type)
{
	pthread_cond_t *condition = malloc(sizeof *condition);

	pthread_cond_init(condition, NULL);
	add(&conditions, 1);
	return condition;
}

static void condition_free(void *condition)
{
	pthread_cond_destroy(condition);
	free(condition);
	add(&condition_frees, 1);
}

static int condition_signal(void *condition, int broadcast)
{
	return broadcast ? pthread_cond_broadcast(condition) : pthread_cond_signal(condition);
}

static int condition_wait(void *condition, void *lock, const struct timeval *timeout)
{
	if (timeout)
		return -1;
	return pthread_cond_wait(condition, lock);
}

static unsigned long id(void)
{
	return (unsigned long)pthread_self();
}

static struct event_base *base;
static struct event ev;
static volatile int inside, done;

static void slow(evutil_socket_t fd, short events, void *arg)
{
	/* No lock of the library's is held here. */
	show(held);
	inside = 1;
	usleep(30000);
	done = 1;
}

static void *loops(void *arg)
{
	event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

int main(void)
{
	struct evthread_lock_callbacks lock_callbacks = { EVTHREAD_LOCK_API_VERSION, EVTHREAD_LOCKTYPE_RECURSIVE,
		lock_alloc, lock_free, lock_lock, lock_unlock };
	struct evthread_condition_callbacks condition_callbacks = { EVTHREAD_CONDITION_API_VERSION, condition_alloc,
		condition_free, condition_signal, condition_wait };
	struct bufferevent *pair[2];
	struct evbuffer *buffer;
	pthread_t thread;

	event_set_log_callback(NULL);
	show(evthread_set_lock_callbacks(&lock_callbacks));
	show(evthread_set_lock_callbacks(&lock_callbacks));
	show(evthread_set_condition_callbacks(&condition_callbacks));
	evthread_set_id_callback(id);
	base = a_base();
	show(locks > 0);
	event_assign(&ev, base, -1, EV_PERSIST, slow, NULL);
	must(pthread_create(&thread, NULL, loops, NULL) == 0);
	event_active(&ev, EV_READ, 1);
	while (!inside)
		usleep(1000);
	show(event_del(&ev));
	show(done);
	show(event_base_loopbreak(base));
	pthread_join(thread, NULL);

	buffer = evbuffer_new();
	show(evbuffer_enable_locking(buffer, NULL));
	evbuffer_lock(buffer);
	evbuffer_add(buffer, "x", 1);
	evbuffer_unlock(buffer);
	evbuffer_free(buffer);
	must(bufferevent_pair_new(base, BEV_OPT_THREADSAFE, pair) == 0);
	bufferevent_lock(pair[0]);
	bufferevent_write(pair[0], "x", 1);
	bufferevent_unlock(pair[0]);
	bufferevent_free(pair[0]);
	bufferevent_free(pair[1]);
	event_base_loop(base, EVLOOP_NONBLOCK);
	event_base_free(base);
	libevent_global_shutdown();
	show(locks - lock_frees);
	show(conditions - condition_frees);
	show(held);
	show(recursive > 0);
	show(wrong);
	return 0;
}
