/* `pull REF…`: pulls images through this node, as a client would, to warm or to test it. Thread: main. */
#include "common/cli/command.h"

#include "common/cli/puller.h"
#include "common/core/printable.h"
#include "common/core/json.h"
#include "common/cli/print.h"

#include <string.h>

struct arguments {
    char platform[100];
    struct pull_options pull;
};

/* "os/arch" or "os/arch/variant", split in place. */
static bool take_platform(struct arguments *a, const char *text) {
    size_t len = strlen(text);
    if (len >= sizeof(a->platform)) return false;
    memcpy(a->platform, text, len + 1);
    char *arch = strchr(a->platform, '/'), *variant;
    if (!arch || arch == a->platform || !arch[1]) return false;
    *arch++ = '\0';
    variant = strchr(arch, '/');
    if (variant) *variant++ = '\0';
    a->pull.os = a->platform;
    a->pull.arch = arch;
    a->pull.variant = variant;
    return true;
}

static json_t *result_json(const char *ref, const struct pull_result *r, const struct error *err) {
    json_t *doc = json_object(), *from = json_array();
    json_object_set_new(doc, "ref", json_string(ref));
    json_object_set_new(doc, "ok", json_boolean(err->code == 0));
    json_object_set_new(doc, "digest", r->digest[0] ? json_string(r->digest) : json_null());
    json_object_set_new(doc, "bytes", json_integer(r->bytes));
    json_object_set_new(doc, "seconds", json_real((double)r->ms / 1000));
    for (size_t i = 0; i < r->n_sources; i++) {
        const struct pull_source *s = &r->sources[i];
        json_array_append_new(from, json_pack("{s:s,s:I,s:I,s:I}", "source", s->source, "bytes", (json_int_t)s->bytes,
                                              "objects", (json_int_t)s->objects, "joined", (json_int_t)s->joined));
    }
    json_object_set_new(doc, "from", from);
    json_object_set_new(doc, "passed_through", json_integer(r->passed_through));
    if (r->warning[0]) json_object_set_new(doc, "warning", json_string(r->warning));
    if (err->code) json_object_set_new(doc, "error", json_pack("{s:s,s:s}", "message", err->msg, "hint", err->hint));
    return doc;
}

static void print_result(const char *ref, const struct pull_result *r) {
    char size[SIZE_TEXT_MAX];
    printf("%s\n  digest  %s\n  bytes   %s in %.2f s\n", ref, r->digest, size_text(r->bytes, size),
           (double)r->ms / 1000);
    for (size_t i = 0; i < r->n_sources; i++) {
        const struct pull_source *s = &r->sources[i];
        printf("  %s  %s from %s%s, %lld object%s\n", i ? "      " : "from  ", size_text(s->bytes, size),
               s->joined ? "a download that was under way from " : "",
               strcmp(s->source, "store") == 0 ? "this node's store" : s->source, (long long)s->objects,
               s->objects == 1 ? "" : "s");
    }
    if (r->passed_through > 0)
        fprintf(stderr,
                "  warning: not kept: this node has no room for it (%lld object%s passed through); see `doctor` and "
                "the log\n",
                (long long)r->passed_through, r->passed_through == 1 ? "" : "s");
    if (r->warning[0]) fprintf(stderr, "  warning: %s\n", r->warning);
    fflush(stdout);
}

/* How many objects the node has passed through since its start; -1: unknown. */
static int64_t passed_through(const struct node_config *node) {
    struct error ignored = {0};
    _cleanup_(control_closep) struct control *c = NULL;
    json_t *doc = NULL;
    if (control_open(&c, node, &ignored) < 0 || control_json(c, "GET", "/api/status", &doc, &ignored) < 0) return -1;
    int64_t n = json_int(json_object_get(doc, "fills"), "passed_through", -1);
    json_decref(doc);
    return n;
}

static int pull_one(const struct command_context *ctx, struct arguments *a, const char *ref, json_t *list) {
    struct progress progress;
    struct pull_result result;
    struct error err = {0};
    progress_init(&progress, ref, ctx->json);
    a->pull.progress = &progress;
    int64_t before = passed_through(ctx->node);
    int r = pull_image(&a->pull, ref, &result, &err);
    if (r == 0 && before >= 0) result.passed_through = passed_through(ctx->node) - before;
    a->pull.progress = NULL;
    progress_end(&progress);
    text_make_printable(result.warning);
    if ((err.code == ERR_UPSTREAM || err.code == ERR_UNREACHABLE || err.code == ERR_TIMEOUT) && !err.hint[0])
        error_hint(&err, "`%s doctor` checks the way to it, step by step", ctx->node->program);
    if (list) {
        if (r < 0 && !err.code) err.code = r;
        json_array_append_new(list, result_json(ref, &result, &err));
    } else if (r == 0) {
        print_result(ref, &result);
    } else {
        error_wrap(&err, "%.200s", ref);
        print_failure(ctx, &err);
    }
    return r;
}

static int run_pull(const struct command_context *ctx) {
    struct arguments a = {.pull.node = ctx->node, .pull.all = command_option_given(ctx, "--all")};
    const char *platform = command_option_value(ctx, "--platform");
    int status = EXIT_DONE;
    pull_platform(&a.pull.os, &a.pull.arch, &a.pull.variant);
    a.pull.named = platform != NULL;
    if (platform && !take_platform(&a, platform)) return print_usage(ctx, "--platform wants OS/ARCH, as linux/arm64");
    json_t *list = ctx->json ? json_array() : NULL;
    for (int i = 0; i < ctx->argc; i++) {
        int r = pull_one(ctx, &a, ctx->argv[i], list);
        if (r < 0) status = EXIT_FAILED;
        if (r == ERR_UNREACHABLE && !list) break; /* no daemon runs, so the next image would fail alike */
    }
    if (list && print_json(json_pack("{s:o}", "pulls", list)) != EXIT_DONE) status = EXIT_FAILED;
    return status;
}

static const struct command_option options[] = {
    {"--platform", "OS/ARCH", "pull this platform of an image, for example linux/arm64; default: this machine's"},
    {"--all", NULL, "pull every platform of an image"},
};

static const struct command_example examples[] = {
    {"pull docker.io/library/nginx:latest", "pull an image for this machine's platform"},
    {"pull --platform linux/arm64 alpine:3.20 redis:7", "pull two for another platform"},
};

const struct command command_pull = {
    .name = "pull",
    .usage = "[--platform OS/ARCH | --all] REF…",
    .summary = "pull images through this node and say where each byte came from",
    .n_min = 1,
    .n_max = COMMAND_ANY,
    .wanted = "name at least one image, as docker.io/library/nginx:latest",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .where = COMMAND_BOTH,
    .run = run_pull,
};
