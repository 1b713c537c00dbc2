/* The client: libcurl's multi interface on one loop's event base. libcurl tells which sockets to watch and when to be
 * woken, and the loop calls it then. libcurl forbids adding or removing a handle from within its own callbacks, so what
 * they leave to be done is done right after. Thread: the client's loop. */
#include "common/http/client_private.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"

#include <assert.h>
#include <pthread.h>

#define IDLE_CONNECTIONS 64L

/* --- calls within libcurl, and what waits for its end --- */

/* The list has the newest call first. */
static bool waits_for_turn(const struct http_call *c) {
    const struct http_call *older = c->in_turn ? c->next : NULL;
    while (older && !older->in_turn)
        older = older->next;
    return older != NULL;
}

void client_add(struct http_call *c) {
    if (c->added || waits_for_turn(c)) return;
    c->added = true;
    if (c->in_turn) {
        c->started_ms = clock_mono_ms();
        call_arm(c);
    }
    CURLMcode r = curl_multi_add_handle(c->client->multi, c->easy);
    if (r == CURLM_OUT_OF_MEMORY) out_of_memory();
    assert(r == CURLM_OK);
}

void client_note_data(struct http_call *c) {
    struct http_client *client = c->client;
    if (!c->ev->lull || c->fed) return;
    c->fed = true;
    c->next_fed = client->fed;
    client->fed = c;
}

/* Calls lull of those that got data. Counts as within libcurl, so that no call is freed meanwhile. */
static void tell_lulls(struct http_client *client) {
    for (struct http_call *c; (c = client->fed);) {
        client->fed = c->next_fed;
        c->fed = false;
        if (c->held && !c->paused) continue; /* more is here; only its turn was over */
        if (c->end == CALL_RUNNING && !c->ev->lull(c, c->arg)) call_mark(c, CALL_DROPPED);
    }
}

/* Lets libcurl hand over what it has kept. */
static void go_on(struct http_call *c) {
    struct http_client *client = c->client;
    c->held = false;
    client->depth++;
    client->turn_bytes = 0;
    curl_easy_pause(c->easy, CURLPAUSE_CONT);
    tell_lulls(client);
    client->depth--;
}

void client_catch_up_soon(struct http_client *client) {
    timer_set(&client->catch_up, 0);
}

static void on_catch_up(void *arg) {
    struct http_client *client = arg;
    struct http_call *c = client->calls;
    while (c) {
        struct http_call *next = c->next;
        if (c->end == CALL_RUNNING) {
            client_add(c);
            if (c->held && !c->paused) go_on(c);
        }
        /* done may cancel any other call, so the walk begins again. Calls that were seen before cost little. */
        if (c->end == CALL_FAILED) {
            call_finish(c);
            next = client->calls;
        } else if (c->end == CALL_DROPPED) {
            call_free(c);
        }
        c = next;
    }
}

/* Ends the calls that libcurl has finished. */
static void check_done(struct http_client *client) {
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(client->multi, &left))) {
        if (m->msg != CURLMSG_DONE) continue;
        struct http_call *c = NULL;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
        call_take_result(c, m->data.result);
    }
}

/* Lets libcurl work on the socket, or on its own timer. */
static void act(struct http_client *client, curl_socket_t fd, int mask) {
    int running;
    client->depth++;
    client->turn_bytes = 0;
    curl_multi_socket_action(client->multi, fd, mask, &running);
    tell_lulls(client);
    client->depth--;
    check_done(client);
}

/* --- libcurl and the loop --- */

static void on_socket(evutil_socket_t fd, short what, void *arg) {
    struct http_client *client = arg;
    loop_enter(client->loop);
    act(client, fd, (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

/* libcurl says which events of a socket it waits for. */
static int on_watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg) {
    (void)easy;
    struct http_client *client = arg;
    struct event *ev = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        if (ev) event_free(ev);
        curl_multi_assign(client->multi, fd, NULL);
        return 0;
    }
    short events = (short)(EV_PERSIST | (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0));
    if (!ev) {
        ev = event_new(loop_base(client->loop), fd, events, on_socket, client);
        if (!ev) out_of_memory();
        curl_multi_assign(client->multi, fd, ev);
    } else {
        event_del(ev);
        event_assign(ev, loop_base(client->loop), fd, events, on_socket, client);
    }
    if (event_add(ev, NULL) != 0) abort();
    return 0;
}

static void on_timer(void *arg) {
    act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int on_set_timer(CURLM *multi, long ms, void *arg) {
    (void)multi;
    struct http_client *client = arg;
    if (ms < 0)
        timer_clear(&client->timer);
    else
        timer_set(&client->timer, ms);
    return 0;
}

static void init_libcurl(void) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) abort();
    /* Without the resolver's threads a slow DNS server would stop the loop. */
    if (!(curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_ASYNCHDNS)) abort();
}

struct http_client *http_client_new(struct loop *l) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_libcurl);
    struct http_client *client = xcalloc(1, sizeof(*client));
    client->loop = l;
    client->multi = curl_multi_init();
    client->share = curl_share_init();
    if (!client->multi || !client->share) out_of_memory();
    curl_share_setopt(client->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    timer_init(&client->timer, l, on_timer, client);
    timer_init(&client->catch_up, l, on_catch_up, client);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_watch_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_set_timer);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS);
    return client;
}

void http_client_free(struct http_client *client) {
    if (!client) return;
    for (struct http_call *c = client->calls, *next; c; c = next) {
        next = c->next;
        call_free(c);
    }
    curl_multi_cleanup(client->multi);
    curl_share_cleanup(client->share);
    timer_fini(&client->timer);
    timer_fini(&client->catch_up);
    free(client);
}
