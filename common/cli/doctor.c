/* `doctor`: runs checks from the near to the far, and prints for each failure what to do. A check that needs an earlier
 * one which failed is reported as skipped. Thread: main. */
#include "common/cli/command.h"

#include "common/cli/diagnosis.h"
#include "common/cli/print.h"

#include <string.h>

static json_t *checks_json(const struct doctor *d) {
    json_t *list = json_array();
    for (size_t i = 0; i < d->n; i++) {
        const struct doctor_check *c = &d->checks[i];
        json_t *o = json_object(), *message = json_string(c->message);
        json_object_set_new(o, "check", json_string(c->name));
        json_object_set_new(o, "result", json_string(doctor_verdict_word(c->verdict)));
        json_object_set_new(o, "message", message ? message : json_string("?"));
        json_object_set_new(o, "what_to_do", json_string(c->todo));
        json_array_append_new(list, o);
    }
    return list;
}

static void print_check(const struct doctor_check *c) {
    printf("%-4s  %-14s  %s\n", doctor_verdict_word(c->verdict), c->name, c->message);
    if (c->todo[0]) printf("%-4s  %-14s  -> %s\n", "", "", c->todo);
    fflush(stdout);
}

static int run_doctor(const struct command_context *ctx) {
    struct doctor d;
    doctor_run(&d, ctx->node, command_option_value(ctx, "--resolver"), ctx->json ? NULL : print_check);
    size_t failed = 0, warned = 0, skipped = 0;
    for (size_t i = 0; i < d.n; i++) {
        failed += d.checks[i].verdict == DOCTOR_FAIL;
        warned += d.checks[i].verdict == DOCTOR_WARN;
        skipped += d.checks[i].verdict == DOCTOR_SKIP;
    }
    int status = failed ? EXIT_FAILED : EXIT_DONE;
    if (ctx->json) {
        json_t *doc = json_object();
        json_object_set_new(doc, "ok", json_boolean(failed == 0));
        json_object_set_new(doc, "checks", checks_json(&d));
        return print_json(doc) == EXIT_DONE ? status : EXIT_FAILED;
    }
    if (failed) {
        printf("\n%zu check%s failed\n", failed, failed == 1 ? "" : "s");
    } else {
        printf("\n%s%s\n", skipped ? "nothing failed, but not all could be checked" : "all is well",
               warned ? skipped ? "; see the warnings, too" : ", but see the warnings" : "");
    }
    return status;
}

static const struct command_option options[] = {
    {"--resolver", "ADDRESS", "on an edge: the resolver to ask about the zone, with :PORT if that is not 53"},
};

static const struct command_example examples[] = {
    {"doctor", "check this node and what it depends on"},
    {"doctor --resolver 10.1.3.53", "the same, with the resolver that the branch's clients ask"},
};

const struct command command_doctor = {
    .name = "doctor",
    .usage = "[--resolver ADDRESS]",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .summary = "check everything a pull depends on, in order, and say what to do",
    .description =
        "Each check says ok, warn, FAIL or skip; a failed one says what to do. The exit status is 1 if one failed.",
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .where = COMMAND_BOTH,
    .run = run_doctor,
};
