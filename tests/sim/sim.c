/* Simulates the edges of a fleet for one real central: `sim FOLDER` reads commands from standard input, a line each, and
 * answers each with one line of JSON when it is over. FOLDER is for what a join keeps meanwhile.
 *
 *   join TOKEN N                                   makes N identities
 *   connect N                                      so many of them watch: until all are equal to central
 *   beat MS                                        each edge reports to central so often; 0: none
 *   hold N OF                                      each edge holds N of OF blobs from then on: until central has taken all
 *                                                  that edges have to tell of that and of pulls
 *   churn EVERY                                    with each EVERYth report an edge changes a blob, and tells of pulls;
 *                                                  0: with none
 *   lookups N                                      so many lookups a second in all, by edges in turn; 0: none
 *   rest MS                                        nothing but that, for so long
 *   change SOCKET REPO TAG (LAYOUT DIGEST)...      loads each layout at central: until every edge knows the tag's digest
 *   deaf N                                         so many further identities watch and read nothing more
 *   hear                                           those read on: until their streams are over
 *   back                                           until every stream has ended, as by a restart of central, and all are
 *                                                  equal to central again
 *
 * Times are in milliseconds; what is counted, since the answer before. Thread: main, but for joins. */
#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "tests/sim/deaf.h"
#include "tests/sim/edge.h"
#include "tests/sim/joiner.h"
#include "tests/sim/post.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define WORDS_MAX 64
#define TICK_MS 5
#define US_PER_MS 1000.0

struct sim;

struct command {
    const char *name;
    int words; /* at least, its name included */
    /* An answer at once, or NULL: over is asked until it gives one. */
    json_t *(*begin)(struct sim *s, char **words, int n);
    json_t *(*over)(struct sim *s);
};

struct sim {
    const char *folder;
    struct sim_edges all;
    struct uplink **uplinks; /* the first of them are edges', then deaf ones' */
    size_t n_uplinks, n_used;
    struct sim_edge **edges;
    struct deaf **deaf;
    size_t n_edges, n_deaf;
    struct event *input;
    struct buf line;
    const struct command *now; /* under way */
    struct timer tick;
    int64_t began_us, answered_us; /* the last answer: from then on is counted */
    /* Of what is under way. */
    int64_t until_us;
    struct http_client *control;
    struct post load;
    char socket[108], ref[512];
    char *words[WORDS_MAX];
    int n_words, at;
    struct spread loads;
    /* Lookups. */
    int64_t per_second, asked, asks_since_us;
    size_t next;
};

static double ms_since(int64_t us) {
    return (double)(clock_mono_us() - us) / US_PER_MS;
}

static json_t *failure(const char *why) {
    return json_pack("{s:s}", "error", why);
}

/* --- what was counted since the last answer --- */

static void begin_counting(struct sim *s) {
    struct sim_edges *a = &s->all;
    a->lost = a->beats = a->beats_failed = a->lookups_failed = 0;
    a->stream_bytes = a->disks.told = a->disks.differ = 0;
    s->answered_us = clock_mono_us();
    spread_clear(&a->sights);
    spread_clear(&a->lookups);
    spread_clear(&a->losses);
    spread_clear(&a->returns);
}

static json_t *counted(struct sim *s) {
    struct sim_edges *a = &s->all;
    json_t *j =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "edges", (json_int_t)s->n_edges, "equal", (json_int_t)a->up,
                  "lost", (json_int_t)a->lost, "stream_bytes", (json_int_t)a->stream_bytes, "beats",
                  (json_int_t)a->beats, "beats_failed", (json_int_t)a->beats_failed, "took_ms", ms_since(s->began_us));
    json_object_set_new(j, "lookups", spread_json(&a->lookups, US_PER_MS));
    json_object_set_new(j, "lookups_failed", json_integer((json_int_t)a->lookups_failed));
    json_object_set_new(j, "held_told", json_integer(a->disks.told));
    json_object_set_new(j, "held_differ", json_integer(a->disks.differ));
    json_object_set_new(j, "pulls_in_all", json_integer(a->disks.pulls)); /* not since the last answer */
    return j;
}

static bool all_equal(struct sim *s) {
    for (size_t i = 0; i < s->n_edges; i++)
        sim_edge_look(s->edges[i]);
    return s->all.up == s->n_edges;
}

/* --- join, connect --- */

static json_t *join(struct sim *s, char **words, int n) {
    struct error err = {0};
    size_t more = (size_t)atoi(words[2]);
    (void)n;
    s->uplinks = xrealloc(s->uplinks, s->n_uplinks + more, sizeof(*s->uplinks));
    memset(s->uplinks + s->n_uplinks, 0, more * sizeof(*s->uplinks));
    if (joiner_run(words[1], more, s->folder, s->uplinks + s->n_uplinks, &err) < 0) return failure(err.msg);
    s->n_uplinks += more;
    return json_pack("{s:I, s:f}", "joined", (json_int_t)more, "took_ms", ms_since(s->began_us));
}

static json_t *connect_edges(struct sim *s, char **words, int n) {
    size_t more = (size_t)atoi(words[1]);
    (void)n;
    if (s->n_used + more > s->n_uplinks) return failure("more than have joined");
    s->edges = xrealloc(s->edges, s->n_edges + more, sizeof(struct sim_edge *));
    for (size_t i = 0; i < more; i++)
        s->edges[s->n_edges++] = sim_edge_new(&s->all, s->uplinks[s->n_used++]);
    return NULL;
}

static json_t *connected(struct sim *s) {
    return all_equal(s) ? counted(s) : NULL;
}

/* --- beat, lookups, rest --- */

static json_t *beat(struct sim *s, char **words, int n) {
    (void)n;
    s->all.beat_ms = atoll(words[1]);
    for (size_t i = 0; i < s->n_edges; i++)
        sim_edge_told(s->edges[i]);
    return json_object();
}

static json_t *hold(struct sim *s, char **words, int n) {
    (void)n;
    bool set = fake_disks_set(&s->all.disks, (unsigned)atoi(words[1]), (uint32_t)atoll(words[2]));
    return set ? NULL : failure("there are not so many blobs, or were others before");
}

static json_t *churn(struct sim *s, char **words, int n) {
    (void)n;
    s->all.disks.every = (unsigned)atoi(words[1]);
    return json_object();
}

static json_t *has_told(struct sim *s) {
    if (!all_equal(s)) return NULL;
    for (size_t i = 0; i < s->n_edges; i++)
        if (!sim_edge_has_told(s->edges[i])) return NULL;
    return counted(s);
}

static json_t *lookups(struct sim *s, char **words, int n) {
    (void)n;
    s->per_second = atoll(words[1]);
    s->asked = 0;
    s->asks_since_us = clock_mono_us();
    return json_object();
}

static void ask_lookups(struct sim *s) {
    int64_t due = (clock_mono_us() - s->asks_since_us) * s->per_second / 1000000;
    for (; s->n_edges > 0 && s->asked < due; s->asked++)
        sim_edge_lookup(s->edges[s->next++ % s->n_edges]);
}

static json_t *rest(struct sim *s, char **words, int n) {
    (void)n;
    s->until_us = s->began_us + atoll(words[1]) * 1000;
    return NULL;
}

/* Nobody is looked at before the end: thousands of looks in each tick would take the processor from central. */
static json_t *rested(struct sim *s) {
    if (clock_mono_us() < s->until_us) return NULL;
    all_equal(s);
    return counted(s);
}

/* --- change --- */

static void load_next(struct sim *s) {
    struct sim_change *c = &s->all.change;
    char path[4096];
    const char *digest = s->words[s->at + 1];
    if (digest_parse(&c->digest, digest, strlen(digest)) < 0) abort();
    snprintf(path, sizeof(path), "/api/load?layout=%s&ref=%s", s->words[s->at], s->ref);
    s->at += 2;
    c->wanted = true;
    c->seen = 0;
    for (size_t i = 0; i < s->n_edges; i++)
        sim_edge_told(s->edges[i]);
    c->began_us = clock_mono_us();
    post_send(&s->load, s->control, &(struct post_order){.method = "POST", .path = path, .unix_socket = s->socket});
}

static void on_loaded(struct post *p, bool good) {
    struct sim *s = p->arg;
    if (good) spread_add(&s->loads, clock_mono_us() - p->began_us);
}

static json_t *change(struct sim *s, char **words, int n) {
    struct sim_change *c = &s->all.change;
    if (n % 2 != 0) return failure("a layout without a digest");
    for (int i = 0; i < n; i++)
        s->words[i] = xstrdup(words[i]);
    s->n_words = n;
    s->at = 4;
    snprintf(s->socket, sizeof(s->socket), "%s", words[1]);
    snprintf(s->ref, sizeof(s->ref), "%s:%s", words[2], words[3]);
    snprintf(c->repo.path, sizeof(c->repo.path), "%s", words[2]);
    snprintf(c->tag, sizeof(c->tag), "%s", words[3]);
    spread_clear(&s->loads);
    load_next(s);
    return NULL;
}

static json_t *end_change(struct sim *s, json_t *answer) {
    s->all.change.wanted = false;
    for (int i = 0; i < s->n_words; i++)
        free(s->words[i]);
    s->n_words = 0;
    return answer;
}

static json_t *changed(struct sim *s) {
    if (s->load.call) return NULL;
    if (s->loads.n * 2 + 4 < (size_t)s->at) return end_change(s, failure("central did not load it"));
    all_equal(s);
    if (s->all.change.seen < s->n_edges) return NULL;
    if (s->at < s->n_words) {
        load_next(s);
        return NULL;
    }
    json_t *j = counted(s);
    json_object_set_new(j, "seen", spread_json(&s->all.sights, US_PER_MS));
    json_object_set_new(j, "loaded", spread_json(&s->loads, US_PER_MS));
    return end_change(s, j);
}

/* --- deaf, hear --- */

static json_t *be_deaf(struct sim *s, char **words, int n) {
    size_t more = (size_t)atoi(words[1]);
    (void)n;
    if (s->n_used + more > s->n_uplinks) return failure("more than have joined");
    s->deaf = xrealloc(s->deaf, s->n_deaf + more, sizeof(struct deaf *));
    for (size_t i = 0; i < more; i++)
        s->deaf[s->n_deaf++] = deaf_new(s->all.loop, s->uplinks[s->n_used++]);
    return NULL;
}

static json_t *deaf_now(struct sim *s) {
    for (size_t i = 0; i < s->n_deaf; i++) {
        struct deaf_facts f;
        deaf_get(s->deaf[i], &f);
        if (!f.watches) return f.ended ? failure("central did not let a deaf edge watch") : NULL;
    }
    return json_pack("{s:I}", "deaf", (json_int_t)s->n_deaf);
}

static json_t *hear(struct sim *s, char **words, int n) {
    (void)words, (void)n;
    for (size_t i = 0; i < s->n_deaf; i++)
        deaf_resume(s->deaf[i]);
    return NULL;
}

static json_t *heard(struct sim *s) {
    size_t gone = 0;
    struct spread bytes = {0};
    for (size_t i = 0; i < s->n_deaf; i++) {
        struct deaf_facts f;
        deaf_get(s->deaf[i], &f);
        if (!f.ended) {
            spread_fini(&bytes);
            return NULL;
        }
        gone += f.told_gone;
        spread_add(&bytes, f.bytes);
    }
    json_t *j = json_pack("{s:I, s:I, s:o}", "heard", (json_int_t)s->n_deaf, "gone", (json_int_t)gone, "bytes",
                          spread_json(&bytes, 1));
    spread_fini(&bytes);
    return j;
}

/* --- back --- */

static json_t *await_back(struct sim *s, char **words, int n) {
    (void)s, (void)words, (void)n;
    return NULL;
}

/* How many returned in each tenth of a second after the first did. */
static json_t *by_tenths(const struct spread *sorted) {
    json_t *list = json_array();
    for (size_t i = 0, n = 0; i < sorted->n; i++) {
        size_t tenth = (size_t)((sorted->values[i] - sorted->values[0]) / 100000);
        for (; json_array_size(list) < tenth; n = 0)
            json_array_append_new(list, json_integer((json_int_t)n));
        n++;
        if (i + 1 == sorted->n) json_array_append_new(list, json_integer((json_int_t)n));
    }
    return list;
}

static void since(struct spread *s, int64_t us) {
    for (size_t i = 0; i < s->n; i++)
        s->values[i] -= us;
}

static json_t *came_back(struct sim *s) {
    if (!all_equal(s) || s->all.lost < s->n_edges) return NULL;
    json_t *j = counted(s);
    struct spread *back = &s->all.returns;
    since(back, s->answered_us); /* central may go before the command is read */
    since(&s->all.losses, s->answered_us);
    json_object_set_new(j, "lost_at", spread_json(&s->all.losses, US_PER_MS));
    json_object_set_new(j, "back_at", spread_json(back, US_PER_MS));
    json_object_set_new(j, "back_by_100ms", by_tenths(back));
    return j;
}

/* --- commands --- */

static const struct command commands[] = {{"join", 3, join, NULL},           {"connect", 2, connect_edges, connected},
                                          {"beat", 2, beat, NULL},           {"lookups", 2, lookups, NULL},
                                          {"hold", 3, hold, has_told},       {"churn", 2, churn, NULL},
                                          {"rest", 2, rest, rested},         {"change", 6, change, changed},
                                          {"deaf", 2, be_deaf, deaf_now},    {"hear", 1, hear, heard},
                                          {"back", 1, await_back, came_back}};

static void answer(struct sim *s, json_t *j) {
    char *text = json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(6));
    puts(text);
    fflush(stdout);
    free(text);
    json_decref(j);
    s->now = NULL;
    begin_counting(s);
    event_add(s->input, NULL);
}

static const struct command *command_of(const char *name, int words) {
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, name) == 0 && words >= commands[i].words) return &commands[i];
    }
    return NULL;
}

static void run_line(struct sim *s, char *line) {
    char *words[WORDS_MAX], *rest_of = NULL;
    int n = 0;
    for (char *w = strtok_r(line, " ", &rest_of); w && n < WORDS_MAX; w = strtok_r(NULL, " ", &rest_of))
        words[n++] = w;
    if (n == 0) return;
    event_del(s->input);
    s->began_us = clock_mono_us();
    s->now = command_of(words[0], n);
    json_t *j = s->now ? s->now->begin(s, words, n) : failure("no such command");
    if (j) answer(s, j);
}

static void on_tick(void *arg) {
    struct sim *s = arg;
    timer_set(&s->tick, TICK_MS);
    if (s->per_second) ask_lookups(s);
    json_t *j = s->now ? s->now->over(s) : NULL;
    if (j) answer(s, j);
}

static void on_input(evutil_socket_t fd, short what, void *arg) {
    struct sim *s = arg;
    char text[4096];
    (void)what;
    loop_enter(s->all.loop);
    ssize_t n = read(fd, text, sizeof(text));
    if (n <= 0 || buf_add(&s->line, text, (size_t)n) < 0) {
        loop_stop(s->all.loop);
        return;
    }
    char *end = memchr(s->line.data, '\n', s->line.len);
    if (!end) return;
    *end = '\0'; /* whoever asks waits for the answer before the next line */
    run_line(s, s->line.data);
    buf_clear(&s->line);
}

/* --- life --- */

static void end(struct sim *s) {
    for (size_t i = 0; i < s->n_edges; i++)
        sim_edge_free(s->edges[i]);
    for (size_t i = 0; i < s->n_deaf; i++)
        deaf_free(s->deaf[i]);
    post_fini(&s->load);
    http_client_free(s->control);
    timer_fini(&s->tick);
    event_free(s->input);
    for (size_t i = 0; i < s->n_uplinks; i++)
        uplink_free(s->uplinks[i]);
    settings_free(s->all.settings);
    fake_disks_fini(&s->all.disks);
    loop_free(s->all.loop);
}

/* Each edge has several. */
static void allow_connections(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0) return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

int main(int argc, char **argv) {
    struct sim s = {0};
    if (argc != 2) return 2;
    signal(SIGPIPE, SIG_IGN);
    allow_connections();
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_WARN, "sim");
    s.folder = argv[1];
    s.all.loop = loop_new("sim");
    s.all.settings = settings_new(s.folder, &(struct settings_own){0});
    s.control = http_client_new(s.all.loop);
    post_init(&s.load, on_loaded, &s);
    buf_init(&s.line, 64 * KiB);
    s.input = event_new(loop_base(s.all.loop), STDIN_FILENO, EV_READ | EV_PERSIST, on_input, &s);
    event_add(s.input, NULL);
    timer_init(&s.tick, s.all.loop, on_tick, &s);
    timer_set(&s.tick, TICK_MS);
    loop_run(s.all.loop);
    end(&s);
    return 0;
}
