/* `verify [--rebuild]`: reads every blob again and checks its digest, through the daemon or without one; --rebuild
 * makes the index anew from the folder. Thread: main. */
#include "common/cli/command.h"

#include "common/core/alloc.h"
#include "common/oci/manifest.h"
#include "common/core/json.h"
#include "common/core/log.h"
#include "common/admin/control_client.h"
#include "common/inventory/store_json.h"
#include "common/cli/progress.h"
#include "common/inventory/store_alone.h"
#include "common/cli/print.h"
#include "common/store/report.h"

#include <string.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 64 * 1024 };

/* Lines of the daemon's stream. */
struct stream {
    struct progress *progress;
    struct buf line;
    json_t *last; /* the line with "done" or "error" */
};

static void take_line(struct stream *s) {
    json_t *doc = json_loadb(s->line.data ? s->line.data : "", s->line.len, 0, NULL);
    const json_t *p = json_object_get(doc, "progress");
    buf_clear(&s->line);
    if (p) {
        progress_show(s->progress, json_int(p, "bytes", 0), json_int(p, "total_bytes", 0));
        json_decref(doc);
    } else if (doc) {
        json_decref(s->last);
        s->last = doc;
    }
}

static bool on_data(const void *data, size_t len, void *arg) {
    struct stream *s = arg;
    const char *p = data, *end = p + len;
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        if (buf_add(&s->line, p, (size_t)((nl ? nl : end) - p)) < 0) return false;
        if (!nl) break;
        take_line(s);
        p = nl + 1;
    }
    return true;
}

static int stream_result(struct stream *s, json_t **out, struct error *err) {
    const json_t *done = json_object_get(s->last, "done"), *e = json_object_get(s->last, "error");
    if (done) {
        *out = json_deep_copy(done);
        return 0;
    }
    error_set(err, ERR_UPSTREAM, "%s", e ? json_text(e, "message", "?") : "the daemon stopped before the end");
    if (e) error_hint(err, "%s", json_text(e, "hint", ""));
    return ERR_UPSTREAM;
}

static int verify_daemon(const struct command_context *ctx, struct progress *progress, json_t **out,
                         struct error *err) {
    _cleanup_(control_closep) struct control *c = NULL;
    struct stream s = {.progress = progress};
    buf_init(&s.line, LINE_MAX_BYTES);
    struct control_request rq = {.method = "POST", .path = "/api/verify", .data = on_data, .arg = &s};
    int r = control_open(&c, ctx->node, err);
    if (r == 0) r = control_ask(c, &rq, NULL, err);
    if (r == 0) r = stream_result(&s, out, err);
    buf_fini(&s.line);
    json_decref(s.last);
    return r;
}

static bool on_progress(const struct verify_report *so_far, int64_t total_bytes, void *arg) {
    progress_show(arg, so_far->bytes, total_bytes);
    return true;
}

static int verify_alone(const struct command_context *ctx, struct progress *progress, json_t **out, struct error *err) {
    struct store_alone a;
    int r = store_alone_open(&a, ctx->node, err);
    if (r < 0) return r;
    struct verify_report report = {0};
    r = store_verify(a.store, on_progress, progress, &report, err);
    store_alone_close(&a);
    if (r == 0) *out = verify_json(&report, report.bytes);
    return r;
}

static int parse_children(const void *data, size_t len, char media_type[256], struct digest **children, size_t *n) {
    struct manifest m;
    int r = manifest_parse(&m, data, len, NULL);
    /* Any JSON object can be parsed; a manifest must also have the type or the fields of one. */
    if (r == 0 && !media_is_manifest(m.media_type)) r = ERR_INVALID;
    if (r == 0) {
        snprintf(media_type, 256, "%s", m.media_type);
        *n = 0;
        *children = xcalloc(m.n_children + 1, sizeof(**children));
        for (size_t i = 0; i < m.n_children; i++) {
            if (m.children[i].kind != CHILD_SUBJECT && !m.children[i].foreign)
                (*children)[(*n)++] = m.children[i].digest;
        }
    }
    manifest_fini(&m);
    return r;
}

static int rebuild(const struct command_context *ctx, json_t **out, struct error *err) {
    _cleanup_(control_closep) struct control *c = NULL;
    json_t *doc = NULL;
    int r = control_open(&c, ctx->node, err);
    if (r == 0 && control_json(c, "GET", "/api/df", &doc, err) != ERR_UNREACHABLE) {
        json_decref(doc);
        error_set(err, ERR_BUSY, "%s is running on %s", ctx->node->program, ctx->node->data);
        error_hint(err, "stop it first: an index cannot be rebuilt while it is used");
        return ERR_BUSY;
    }
    struct verify_report report = {0};
    if (r == 0) r = store_alone_as_owner(ctx->node->data, err);
    if (r == 0) r = store_rebuild(ctx->node->data, parse_children, &report, err);
    store_alone_as_self();
    if (r == 0) *out = verify_json(&report, report.bytes);
    return r;
}

/* Lists only what was done. */
static void print_bad(const struct command_context *ctx, const json_t *doc) {
    long long moved = json_int(doc, "moved", 0), not_moved = json_int(doc, "not_moved", 0),
              unreadable = json_int(doc, "unreadable", 0);
    const char *mark = log_journal_mark(STDERR_FILENO, LOG_LEVEL_ERROR);
    if (moved > 0)
        fprintf(
            stderr,
            "%s%lld moved to %s/quarantine; what is mirrored is fetched again when asked for, what is hosted must be "
            "loaded again; check the disk\n",
            mark, moved, ctx->node->data);
    if (not_moved > 0)
        fprintf(
            stderr,
            "%s%lld could not be moved to %s/quarantine: %s; a running daemon serves them no more, but a restart would "
            "find them again: check the disk, then run verify again\n",
            mark, not_moved, ctx->node->data, json_text(doc, "why_not_moved", "?"));
    if (unreadable > 0)
        fprintf(
            stderr,
            "%s%lld could not be read: %s; check the disk (dmesg). What is mirrored is fetched again when asked for\n",
            mark, unreadable, json_text(doc, "why_unreadable", "?"));
}

static int print_report(const struct command_context *ctx, json_t *doc, bool rebuilt) {
    int64_t bad = json_int(doc, "bad", 0), missing = json_int(doc, "missing", 0);
    int status = bad + missing > 0 ? EXIT_FAILED : EXIT_DONE;
    if (ctx->json) {
        int r = print_json(doc);
        return r == EXIT_DONE ? status : r;
    }
    char size[SIZE_TEXT_MAX], blobs[SIZE_TEXT_MAX];
    if (rebuilt) {
        printf("index rebuilt: %s found, %s\n", count_text(json_int(doc, "adopted", 0), "blob", blobs),
               size_text(json_int(doc, "bytes", 0), size));
        printf("tags, and the repositories of each blob, are taken from the old index as far as it could be read; the "
               "rest is "
               "asked for again%s\n",
               ctx->node->kind == NODE_CENTRAL
                   ? "; what is hosted is told again from its record (hosted.db) at the next start"
                   : "");
    } else {
        printf("%s checked, %s: %lld bad, %lld missing\n", count_text(json_int(doc, "checked", 0), "blob", blobs),
               size_text(json_int(doc, "bytes", 0), size), (long long)bad, (long long)missing);
    }
    const json_t *name;
    size_t i;
    json_array_foreach(json_object_get(doc, "bad_blobs"), i, name)
        printf("%sbad  %s\n", log_journal_mark(STDOUT_FILENO, LOG_LEVEL_ERROR), json_string_value(name));
    print_bad(ctx, doc);
    json_decref(doc);
    return status;
}

static int run_verify(const struct command_context *ctx) {
    bool again = command_option_given(ctx, "--rebuild");
    struct error err = {0};
    struct progress progress;
    json_t *doc = NULL;
    progress_init(&progress, "verify", ctx->json);
    int r = again ? rebuild(ctx, &doc, &err) : verify_daemon(ctx, &progress, &doc, &err);
    if (!again && r == ERR_UNREACHABLE) r = verify_alone(ctx, &progress, &doc, &err);
    progress_end(&progress);
    return r < 0 ? print_failure(ctx, &err) : print_report(ctx, doc, again);
}

static const struct command_option options[] = {
    {"--rebuild", NULL, "make the index anew from the folder; the daemon must be stopped"},
};

static const struct command_example examples[] = {
    {"verify", "check every blob"},
    {"verify --rebuild", "make the index anew from the folder, while the daemon is stopped"},
};

const struct command command_verify = {
    .name = "verify",
    .usage = "[--rebuild]",
    .summary = "check every blob's digest; --rebuild: make the index anew (daemon stopped)",
    .description =
        "Bad blobs go to the folder quarantine/. The exit status is 1 if there are any. Without a running daemon the\n"
        "store's folder is read.",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .where = COMMAND_BOTH,
    .run = run_verify,
};
