/* `join TOKEN`: makes this edge one of a central's fleet. What can fail without central is looked at before the token
 * is used. Thread: main. */
#include "edge/cmd_join.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/admin/control_client.h"
#include "common/cli/cli.h"
#include "common/cli/print.h"
#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/file.h"
#include "edge/config/edge_config.h"
#include "edge/config/edge_file.h"
#include "edge/link/join.h"

#define SERVICE_ACCOUNT "entrepot"
#define SERVICE_DATA "/var/lib/entrepot/"
/* A clock that is wrong by more than this is told. */
#define SKEW_TOLD_S 300

/* --- before --- */

static int read_token(const char *argument, struct join_token *t, struct error *err) {
    char line[TOKEN_TEXT_MAX + 2];
    if (strcmp(argument, "-") != 0) return token_parse(t, argument, err);
    if (!fgets(line, sizeof(line), stdin)) return error_set(err, ERR_INVALID, "standard input has no token");
    int r = token_parse(t, line, err);
    explicit_bzero(line, sizeof(line));
    return r;
}

/* The token and the identity have a root in common. */
static bool same_central(const struct identity *id, const struct join_token *t) {
    uint8_t hash[ROOT_HASH_BYTES];
    for (int i = 0; i < sk_X509_num(id->roots); i++) {
        cert_hash(sk_X509_value(id->roots, i), hash);
        for (size_t k = 0; k < t->n_roots; k++)
            if (memcmp(hash, t->roots[k], sizeof(hash)) == 0) return true;
    }
    return false;
}

/* Whether the join that gave this identity was killed before it was done, so that the configuration may not say it. */
static bool was_cut(const struct identity *id, const char *data) {
    EVP_PKEY *key = NULL;
    STACK_OF(X509) *certs = NULL;
    struct error ignored = {0};
    bool same =
        identity_read(data, "joining.pem", &key, &certs, &ignored) == 0 && key && EVP_PKEY_eq(key, id->key) == 1;
    EVP_PKEY_free(key);
    sk_X509_pop_free(certs, X509_free);
    return same;
}

static int check_identity(const struct command_context *ctx, const struct join_token *t, struct error *err) {
    struct identity id;
    struct error found = {0};
    int r = identity_load(&id, ctx->node->data, &found);
    if (r == ERR_NOT_FOUND || command_option_given(ctx, "--replace")) {
        if (r == 0) identity_fini(&id);
        return 0;
    }
    if (r < 0) {
        *err = found;
        error_hint(err, r == -EACCES ? "run this as root (sudo)" : "with --replace this edge joins anew all the same");
        return r;
    }
    if (same_central(&id, t) && was_cut(&id, ctx->node->data)) {
        identity_fini(&id);
        return 0; /* central answers the same again */
    }
    error_set(err, ERR_INVALID, "this edge has joined %s already: it is %s of the site %s",
              same_central(&id, t) ? "this central" : "another central", id.who.name, id.who.site);
    error_hint(err, "with --replace it leaves that identity and joins anew; what it holds stays");
    identity_fini(&id);
    return ERR_INVALID;
}

/* root makes a service's folder for the service's account. */
static int make_data(const char *data, struct error *err) {
    struct stat st;
    if (stat(data, &st) == 0) return 0;
    int r = dir_make_all(data, 0700, err);
    const struct passwd *account = getpwnam(SERVICE_ACCOUNT);
    bool service = strncmp(data, SERVICE_DATA, strlen(SERVICE_DATA)) == 0;
    if (r < 0 || geteuid() != 0 || !service || !account) return r;
    return chown(data, account->pw_uid, account->pw_gid) == 0 ? 0 : error_errno(err, "giving %s away", data);
}

/* --- after --- */

/* 1: no daemon runs. */
static int tell_daemon(const struct command_context *ctx, const char *url, struct error *err) {
    _cleanup_(control_closep) struct control *c = NULL;
    _cleanup_(freep) char *escaped = control_escape(url), *path = xasprintf("/api/identity?central=%s", escaped);
    json_t *doc = NULL;
    int r = control_open(&c, ctx->node, err);
    if (r == 0) r = control_json(c, "POST", path, &doc, err);
    json_decref(doc);
    return r == ERR_UNREACHABLE ? 1 : r;
}

static void print_clock(const struct join_result *j) {
    char age[SIZE_TEXT_MAX];
    int64_t off = j->skew_s < 0 ? -j->skew_s : j->skew_s;
    if (j->has_skew && off > SKEW_TOLD_S)
        printf("this machine's clock is %s %s central's: set it\n", time_text(off, age),
               j->skew_s < 0 ? "behind" : "ahead of");
}

static int print_joined(const struct command_context *ctx, const struct join_result *j, bool written, bool running) {
    const struct member *m = &j->id.who;
    char until[CLOCK_DATE_MAX];
    if (ctx->json)
        return print_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:b}", "name", m->name, "site", m->site, "fleet",
                                    m->fleet, "central", j->url, "config", ctx->config_path, "certificate_not_after",
                                    (json_int_t)m->not_after, "daemon_uses_it", running));
    printf("joined: this edge is %s of the site %s; central is %s\n", m->name, m->site, j->url);
    printf("its certificate is good until %s and renews itself\n", clock_date(m->not_after, until));
    printf("%s: %s\n", written ? "written" : "unchanged", ctx->config_path);
    print_clock(j);
    if (running)
        puts("the running entrepot-edge uses it from now on; see `entrepot-edge status`");
    else
        printf("next: start it, by `systemctl restart entrepot-edge` or `%s serve%s%s`\n", ctx->program->name,
               strcmp(ctx->config_path, EDGE_CONFIG_FILE) ? " --config " : "",
               strcmp(ctx->config_path, EDGE_CONFIG_FILE) ? ctx->config_path : "");
    return EXIT_DONE;
}

static int take(const struct command_context *ctx, const struct join_result *j, struct error *err) {
    const char *data = ctx->node->data;
    int r = identity_save(&j->id, data, err);
    if (r < 0) {
        error_hint(err, "make room or mend the folder, then run the same command again: central answers it again");
        return r;
    }
    r = identity_give_away(data, err);
    int file = edge_file_write(ctx->config_path, j->id.who.site, j->url, r == 0 ? err : NULL);
    identity_joined(data); /* last: until then the same command goes on where this one was killed */
    return r < 0 ? r : file;
}

static int run_join(const struct command_context *ctx) {
    const struct edge_config *cfg = (const struct edge_config *)(const void *)ctx->node;
    struct error err = {0};
    struct join_token token = {0};
    struct join_result j = {0};
    int r = read_token(ctx->argv[0], &token, &err);
    explicit_bzero(ctx->argv[0], strlen(ctx->argv[0])); /* so that `ps` shows it no longer */
    if (r == 0) r = check_identity(ctx, &token, &err);
    if (r == 0) r = edge_file_check(ctx->config_path, &err);
    if (r == 0) r = make_data(cfg->node.data, &err);
    const struct join_order o = {.token = &token,
                                 .data = cfg->node.data,
                                 .site = cfg->site,
                                 .central = cfg->central,
                                 .proxy = cfg->central_proxy,
                                 .central_is_default = strcmp(cfg->central, EDGE_CENTRAL_DEFAULT) == 0};
    if (r == 0) r = join_run(&o, &j, &err);
    explicit_bzero(&token, sizeof(token));
    int written = r == 0 ? take(ctx, &j, &err) : r;
    int told = written >= 0 ? tell_daemon(ctx, j.url, &err) : written;
    int status = told < 0 ? print_failure(ctx, &err) : print_joined(ctx, &j, written == 0, told == 0);
    identity_fini(&j.id);
    return status;
}

static const struct command_option options[] = {
    {"--replace", NULL, "leave the identity that this edge has, and join anew; what it holds stays"},
};

static const struct command_example examples[] = {
    {"join entrepot1-...", "join by the token that `entrepot-central edge invite` printed"},
    {"join - <token", "the same, with the token from standard input, so that no list of processes shows it"},
};

const struct command command_join = {
    .name = "join",
    .usage = "[--replace] TOKEN|-",
    .summary = "make this edge one of a central's fleet",
    .description =
        "Makes a key that does not leave this machine, gets a certificate for it from the central that made the "
        "token,\nand writes `site` and `central` into the configuration file, which keeps all else. A running "
        "daemon uses it at once.",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .n_min = 1,
    .n_max = 1,
    .wanted = "give the token, or - to read it from standard input",
    .examples = examples,
    .n_examples = ARRAY_LEN(examples),
    .where = COMMAND_EDGE,
    .makes_config = true,
    .run = run_join,
};
