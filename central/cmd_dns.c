/* `dns explain --client ADDRESS`: which answer a client gets from the DNS, and why. Thread: main. */
#include "central/cmd_dns.h"

#include "common/admin/control_client.h"
#include "common/cli/print.h"
#include "common/core/alloc.h"
#include "common/core/json.h"
#include "common/core/network.h"

#include <string.h>

static void print_explained(const json_t *doc) {
    const json_t *s, *answers = json_object_get(doc, "answers");
    size_t i;
    json_array_foreach(json_object_get(doc, "steps"), i, s) printf("%zu. %s\n", i + 1, json_string_value(s));
    printf("%s is", json_text(doc, "name", "?"));
    json_array_foreach(answers, i, s) printf("%s %s", i ? " and" : "", json_string_value(s));
    printf(", for %lld s", (long long)json_int(doc, "ttl_s", 0));
    if (json_object_get(doc, "scope"))
        printf(", for every client whose address has the same first %lld bits", (long long)json_int(doc, "scope", 0));
    putchar('\n');
}

static int run_dns(const struct command_context *ctx) {
    const char *client = command_option_value(ctx, "--client"), *resolver = command_option_value(ctx, "--resolver");
    const char *given = client ? client : resolver;
    struct error err = {0};
    struct ip ip;
    if (strcmp(ctx->argv[0], "explain") != 0)
        return print_usage(ctx, "\"%s\" is not known; it is `dns explain`", ctx->argv[0]);
    if (!client == !resolver) return print_usage(ctx, "give --client ADDRESS, or --resolver ADDRESS");
    if (!ip_parse(&ip, given, strlen(given)))
        return print_usage(ctx, "\"%s\" is neither an IPv4 nor an IPv6 address", given);
    _cleanup_(freep) char *address = control_escape(given),
                          *path = xasprintf("/api/dns/explain?%s=%s", client ? "client" : "resolver", address);
    _cleanup_(control_closep) struct control *c = NULL;
    json_t *doc = NULL;
    if (control_open(&c, ctx->node, &err) < 0 || control_json(c, "GET", path, &doc, &err) < 0)
        return print_failure(ctx, &err);
    if (ctx->json) return print_json(doc);
    print_explained(doc);
    json_decref(doc);
    return EXIT_DONE;
}

static const struct command_option options[] = {
    {"--client", "ADDRESS", "a client whose resolver tells its subnet (EDNS client subnet)"},
    {"--resolver", "ADDRESS", "a resolver that tells no client subnet"},
};

static const struct command_example examples[] = {
    {"dns explain --client 10.3.2.1", "which edge a client is sent to, and why"},
    {"dns explain --resolver 10.3.0.53", "where a resolver that tells no client subnet sends all its clients"},
};

static const char *const words[] = {"explain", NULL};

const struct command command_dns = {
    .name = "dns",
    .usage = "explain --client ADDRESS | --resolver ADDRESS",
    .summary = "say which edge the DNS names to a client, and why",
    .description = "Each step of the decision is a line, from the client's address to the answer.",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .n_min = 1,
    .n_max = 1,
    .wanted = "write `dns explain`",
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .words = words,
    .where = COMMAND_CENTRAL,
    .run = run_dns,
};
