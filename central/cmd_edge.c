/* `edge invite|list|show|remove|allow`: the edges of the fleet. The running central answers. Thread: main. */
#include "central/cmd_edge.h"

#include <stdio.h>
#include <string.h>

#include "common/admin/control_client.h"
#include "common/cli/print.h"
#include "common/config/units.h"
#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/json.h"

static int ask(const struct command_context *ctx, const char *method, const char *path, json_t **doc) {
    struct error err = {0};
    _cleanup_(control_closep) struct control *c = NULL;
    if (control_open(&c, ctx->node, &err) == 0 && control_json(c, method, path, doc, &err) == 0) return EXIT_DONE;
    return print_failure(ctx, &err);
}

/* --- invite --- */

/* A misspelt site is a site of its own, whose edge no client of the right one is sent to. */
static void note_unknown_site(const json_t *doc) {
    const char *site = json_text(doc, "site", "?"), *near = json_text(doc, "site_near", "");
    if (!json_is_false(json_object_get(doc, "site_known"))) return;
    printf("note: there is no site %s under `sites` in central's configuration%s%s%s\n", site,
           *near ? "; did you mean " : "", near, *near ? "?" : "");
}

/* The token stands alone on its first line, for scripts. */
static void print_invite(const json_t *doc) {
    char until[CLOCK_DATE_MAX];
    const char *replaces = json_text(doc, "replaces", ""), *address = json_text(doc, "address", "?");
    long long uses = (long long)json_int(doc, "uses", 1);
    const char *token = json_text(doc, "token", "?");
    printf("%s\n\nrun on the edge, as root:\n  entrepot-edge join %s\n\n", token, token);
    printf("good for %s of the site %s, %lld %s, until %s\n", *replaces ? replaces : "an edge",
           json_text(doc, "site", "?"), uses, uses == 1 ? "time" : "times",
           clock_date(json_int(doc, "expires_at", 0), until));
    printf("the edge must reach this central at %s (keys fleet.listen, fleet.addresses)\n", address);
    if (strncmp(address, "127.", strlen("127.")) == 0 || strncmp(address, "[::1]", strlen("[::1]")) == 0 ||
        strncmp(address, "localhost", strlen("localhost")) == 0)
        puts("that is this machine alone: for edges elsewhere set fleet.listen to \":5001\", or end a tunnel here");
    note_unknown_site(doc);
}

static int run_invite(const struct command_context *ctx) {
    struct error err = {0};
    const char *site = command_option_value(ctx, "--site"), *replaces = command_option_value(ctx, "--replace");
    const char *expires = command_option_value(ctx, "--expires"), *uses = command_option_value(ctx, "--uses");
    int64_t ms = 0;
    json_t *doc = NULL;
    if (ctx->argc != 1 && !site && !replaces)
        return print_usage(ctx, "name the site by its option: edge invite --site %s", ctx->argv[1]);
    if (ctx->argc != 1) return print_usage(ctx, "invite takes options only, not \"%s\"", ctx->argv[1]);
    if (!site && !replaces) return print_usage(ctx, "say of which site the edge is: --site NAME");
    if (duration_parse(expires ? expires : "1h", &ms, &err) < 0)
        return print_usage(ctx, "--expires: %s; %s", err.msg, err.hint);
    if (ms < 1000) return print_usage(ctx, "--expires: at least one second");
    _cleanup_(freep) char *a = control_escape(site ? site : ""), *b = control_escape(replaces ? replaces : ""),
                          *c = control_escape(uses ? uses : "1");
    _cleanup_(freep) char *path =
        xasprintf("/api/edge/invite?site=%s&replaces=%s&uses=%s&expires_s=%lld", a, b, c, (long long)(ms / 1000));
    int status = ask(ctx, "POST", path, &doc);
    if (status != EXIT_DONE) return status;
    if (ctx->json) return print_json(doc);
    print_invite(doc);
    json_decref(doc);
    return EXIT_DONE;
}

/* --- list --- */

static void cell_ago(struct table *t, int64_t at) {
    char text[SIZE_TEXT_MAX];
    int64_t age = clock_wall_s() - at;
    if (at > 0)
        table_cellf(t, "%s ago", time_text(age > 0 ? age : 0, text));
    else
        table_cell(t, "never");
}

/* "equal", or what it lacks. */
static void cell_replica(struct table *t, const json_t *replica) {
    char text[SIZE_TEXT_MAX];
    int64_t lag_ms = json_int(replica, "lag_ms", -1);
    if (json_is_true(json_object_get(replica, "equal")))
        table_cell(t, "equal");
    else if (lag_ms < 0)
        table_cell(t, "none");
    else
        table_cellf(t, "%s old", time_text(lag_ms / 1000, text));
}

/* What the edge has reported last: load, disk, hits, bytes that did not cross its uplink, replica. */
static void cells_report(struct table *t, const json_t *r) {
    char held[SIZE_TEXT_MAX], limit[SIZE_TEXT_MAX], saved[SIZE_TEXT_MAX];
    const json_t *disk = json_object_get(r, "disk"), *ratio = json_object_get(r, "hit_ratio");
    if (!json_is_object(r)) {
        for (unsigned i = 0; i < 5; i++)
            table_cell(t, "-");
        return;
    }
    table_cellf(t, "%lld %%", (long long)json_int(r, "load", 0));
    table_cellf(t, "%s of %s", size_text(json_int(disk, "held", 0), held),
                size_text(json_int(disk, "limit", 0), limit));
    if (json_is_number(ratio))
        table_cellf(t, "%.1f %%", json_number_value(ratio) * 100);
    else
        table_cell(t, "-");
    table_cell(t, size_text(json_int(r, "saved_bytes", 0), saved));
    cell_replica(t, json_object_get(r, "replica"));
}

static void print_list(const json_t *list) {
    static const char *const titles[] = {"NAME", "SITE",  "STATE",   "ADDRESS",           "LAST SEEN", "LOAD",   "DISK",
                                         "HITS", "SAVED", "REPLICA", "CERTIFICATE UNTIL", "RENEWED",   "VERSION"};
    struct table t;
    char until[CLOCK_DATE_MAX];
    const json_t *e;
    size_t i;
    table_init(&t, ARRAY_LEN(titles), 1u << 5 | 1u << 7 | 1u << 8 | 1u << 11);
    for (i = 0; i < ARRAY_LEN(titles); i++)
        table_cell(&t, titles[i]);
    json_array_foreach(list, i, e) {
        table_cell(&t, json_text(e, "name", "?"));
        table_cell(&t, json_text(e, "site", "?"));
        table_cell(&t, json_text(e, "state", "?"));
        table_cell(&t, json_text(e, "address", "-"));
        cell_ago(&t, json_int(e, "seen_at", 0));
        cells_report(&t, json_object_get(e, "report"));
        table_cell(&t, clock_date(json_int(e, "certificate_not_after", 0), until));
        table_cellf(&t, "%lld", (long long)json_int(e, "generation", 1) - 1);
        table_cell(&t, json_text(e, "version", "-"));
    }
    table_print(&t, stdout);
    table_fini(&t);
}

static int run_list(const struct command_context *ctx) {
    json_t *doc = NULL;
    int status = ask(ctx, "GET", "/api/edge/list", &doc);
    if (status != EXIT_DONE) return status;
    if (ctx->json) return print_json(doc);
    print_list(json_object_get(doc, "edges"));
    if (json_array_size(json_object_get(doc, "edges")) == 0)
        puts("no edge has joined yet: `entrepot-central edge invite --site NAME` makes a token for one");
    json_decref(doc);
    return EXIT_DONE;
}

/* --- one edge --- */

static void print_pulls(struct table *t, const json_t *r) {
    char saved[SIZE_TEXT_MAX], fetched[SIZE_TEXT_MAX];
    const json_t *ratio = json_object_get(r, "hit_ratio");
    table_cell(t, "requests");
    if (json_is_number(ratio))
        table_cellf(t, "%.1f %% from its store", json_number_value(ratio) * 100);
    else
        table_cell(t, "none since its start");
    table_cell(t, "uplink");
    table_cellf(t, "%s fetched, %s saved since its start%s", size_text(json_int(r, "fetched_bytes", 0), fetched),
                size_text(json_int(r, "saved_bytes", 0), saved),
                json_is_true(json_object_get(r, "uplink_full"))
                    ? "; it is full or long: answers take half a second or more"
                    : "");
}

static void print_report(struct table *t, const json_t *r) {
    char text[SIZE_TEXT_MAX], limit[SIZE_TEXT_MAX], free_text[SIZE_TEXT_MAX], blobs[SIZE_TEXT_MAX];
    const json_t *disk = json_object_get(r, "disk"), *address;
    size_t i;
    table_cell(t, "report");
    if (!json_is_object(r)) {
        table_cell(t, "none since central's start");
        return;
    }
    table_cellf(t, "%s ago, load %lld %%", time_text(json_int(r, "age_ms", 0) / 1000, text),
                (long long)json_int(r, "load", 0));
    json_array_foreach(json_object_get(r, "registry"), i, address) {
        table_cell(t, i == 0 ? "registry" : "");
        table_cell(t, json_string_value(address));
    }
    table_cell(t, "disk");
    table_cellf(t, "%s, %s of %s; %s free", count_text(json_int(disk, "blobs", 0), "blob", blobs),
                size_text(json_int(disk, "held", 0), text), size_text(json_int(disk, "limit", 0), limit),
                size_text(json_int(disk, "free", 0), free_text));
    print_pulls(t, r);
    table_cell(t, "replica");
    cell_replica(t, json_object_get(r, "replica"));
}

static void print_edge(const json_t *e) {
    struct table t;
    char a[CLOCK_DATE_MAX], b[CLOCK_DATE_MAX];
    table_init(&t, 2, 0);
    table_cell(&t, json_text(e, "name", "?"));
    table_cellf(&t, "%s, site %s", json_text(e, "state", "?"), json_text(e, "site", "?"));
    if (json_text(e, "reason", NULL)) {
        table_cell(&t, "why");
        table_cell(&t, json_text(e, "reason", ""));
        table_cell(&t, "");
        table_cellf(&t,
                    "stop the copy, then `entrepot-central edge allow %s`; or `edge remove %s`; or give the right "
                    "machine a new identity: `edge invite --replace %s`",
                    json_text(e, "name", ""), json_text(e, "name", ""), json_text(e, "name", ""));
    }
    table_cell(&t, "address");
    table_cell(&t, json_text(e, "address", "-"));
    table_cell(&t, "last seen");
    cell_ago(&t, json_int(e, "seen_at", 0));
    table_cell(&t, "version");
    table_cell(&t, json_text(e, "version", "-"));
    table_cell(&t, "joined");
    table_cell(&t, clock_date(json_int(e, "joined_at", 0), a));
    table_cell(&t, "certificate");
    table_cellf(&t, "good until %s, generation %lld", clock_date(json_int(e, "certificate_not_after", 0), b),
                (long long)json_int(e, "generation", 0));
    print_report(&t, json_object_get(e, "report"));
    table_print(&t, stdout);
    table_fini(&t);
}

static int run_one(const struct command_context *ctx, const char *method, const char *what, const char *done) {
    json_t *doc = NULL;
    if (ctx->argc != 2) return print_usage(ctx, "%s takes the name of one edge", what);
    _cleanup_(freep) char *name = control_escape(ctx->argv[1]), *path = xasprintf("/api/edge/%s?name=%s", what, name);
    int status = ask(ctx, method, path, &doc);
    if (status != EXIT_DONE) return status;
    if (ctx->json) return print_json(doc);
    if (done)
        printf("%s %s\n", json_text(doc, "name", "?"), done);
    else
        print_edge(doc);
    json_decref(doc);
    return EXIT_DONE;
}

/* --- the command --- */

static int run_edge(const struct command_context *ctx) {
    const char *what = ctx->argv[0];
    bool has_options = false;
    for (size_t i = 0; i < ctx->command->n_options; i++)
        has_options = has_options || ctx->values[i];
    if (strcmp(what, "invite") == 0) return run_invite(ctx);
    if (has_options) return print_usage(ctx, "only invite takes these options");
    if (strcmp(what, "list") == 0 && ctx->argc != 1)
        return print_usage(ctx, "list takes no name: show NAME tells of one");
    if (strcmp(what, "list") == 0) return run_list(ctx);
    if (strcmp(what, "show") == 0) return run_one(ctx, "GET", what, NULL);
    if (strcmp(what, "remove") == 0)
        return run_one(ctx, "POST", what, "is removed: it is refused from now on, and its connections are cut");
    if (strcmp(what, "allow") == 0) return run_one(ctx, "POST", what, "is allowed again");
    return print_usage(ctx, "say what: invite, list, show NAME, remove NAME or allow NAME");
}

static const struct command_option options[] = {
    {"--site", "NAME", "invite: the site that the edge stands in"},
    {"--expires", "TIME", "invite: how long the token is good, at most 30d; 1h if not given"},
    {"--uses", "N", "invite: how many edges may join by it; 1 if not given"},
    {"--replace", "EDGE", "invite: the edge that joins takes the name and place of this one, as after a new disk"},
};

static const struct command_example examples[] = {
    {"edge invite --site shanghai", "print a token, and the line to run on the edge"},
    {"edge invite --site shanghai --uses 20 --expires 7d", "a token for twenty edges of that site, good for a week"},
    {"edge invite --replace shanghai-1", "a token for the machine that takes the place of a dead edge"},
    {"edge list", "the edges, when each was last seen, and how long its certificate is good"},
    {"edge show shanghai-1", "all that is known of one, and why it is in quarantine"},
    {"edge remove shanghai-1", "refuse that edge from now on"},
    {"edge allow shanghai-1", "end its quarantine"},
};

static const char *const words[] = {"invite", "list", "show", "remove", "allow", NULL};

const struct command command_edge = {
    .name = "edge",
    .usage =
        "invite --site NAME [--expires TIME] [--uses N] [--replace EDGE] | list | show EDGE | remove EDGE | allow EDGE",
    .summary = "invite edges into the fleet, list and remove them",
    .description =
        "An edge whose identity two machines use by turns is in quarantine until `edge allow` or `edge remove`.",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .words = words,
    .n_min = 1,
    .n_max = 2,
    .wanted = "say what: invite, list, show NAME, remove NAME or allow NAME",
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .where = COMMAND_CENTRAL,
    .run = run_edge,
};
