/* Decides names by central's configuration. Thread: as node_part.h and serve/policy.h say of each function. */
#include "central/names/names_part.h"

#include "common/core/alloc.h"

/* How long a "not found" is remembered. With the time an edge remembers one, a new tag must be visible within 10 s. */
#define NEGATIVE_MS 4000
#define ANSWER_WITHIN_MS 6000

struct names {
    const struct central_config *cfg;
    struct name_rules rules;
    struct policy policy;
    void (*asked)(const struct repo_name *repo, const char *tag, const struct tag_facts *facts, void *arg);
    void *asked_arg;
};

static const struct name_rules *rules(void *arg) {
    return &((struct names *)arg)->rules;
}

static const char *scope(const struct repo_name *repo, char out[REPO_STR_MAX], void *arg) {
    const struct names *s = arg;
    long i = repo->upstream[0] ? central_upstream_index(s->cfg, repo->upstream) : -1;
    bool shared = i >= 0 && !upstream_is_per_repository(&s->cfg->upstreams[i]);
    return shared ? repo->upstream : repo_name_str(repo, out);
}

static int64_t fresh_for_ms(const struct repo_name *repo, void *arg) {
    const struct names *s = arg;
    long i = repo->upstream[0] ? central_upstream_index(s->cfg, repo->upstream) : -1;
    return i < 0 ? INT64_MAX : s->cfg->upstreams[i].fresh_for_ms;
}

static void tag_asked(const struct repo_name *repo, const char *tag, const struct tag_facts *facts, void *arg) {
    const struct names *s = arg;
    if (s->asked) s->asked(repo, tag, facts, s->asked_arg);
}

static void make_rules(struct names *s, const struct node *n) {
    const struct central_config *cfg = s->cfg;
    const char **upstreams = xcalloc(cfg->n_upstreams + 1, sizeof(*upstreams));
    for (size_t i = 0; i < cfg->n_upstreams; i++)
        upstreams[i] = cfg->upstreams[i].name;
    s->rules = (struct name_rules){
        .upstreams = upstreams,
        .n_upstreams = cfg->n_upstreams,
        .default_upstream = cfg->default_upstream,
        .hosted = (const char *const *)cfg->hosted,
        .n_hosted = cfg->n_hosted,
        .own_names = (const char *const *)cfg->node.registry_names,
        .n_own_names = cfg->node.n_registry_names,
        .addresses = (const char *const *)n->addresses,
        .n_addresses = n->n_addresses,
    };
}

static int start(struct node *n, void **self, struct error *err) {
    (void)err;
    struct names *s = xcalloc(1, sizeof(*s));
    s->cfg = central_config_of(n);
    make_rules(s, n);
    s->policy = (struct policy){
        .negative_ms = NEGATIVE_MS,
        .answer_within_ms = ANSWER_WITHIN_MS,
        .hide_deleted = s->cfg->deleted == DELETED_HIDE,
        .rules = rules,
        .scope = scope,
        .fresh_for_ms = fresh_for_ms,
        .tag_asked = tag_asked,
        .arg = s,
    };
    n->policy = &s->policy;
    *self = s;
    return 0;
}

static void stop(void *self) {
    struct names *s = self;
    free((void *)(uintptr_t)s->rules.upstreams);
    free(s);
}

const struct node_part part_names = {.name = "names", .start = start, .stop = stop};

const struct name_rules *names_rules(const struct node *n) {
    return rules(node_part(n, &part_names));
}

void names_set_version(const struct node *n, uint64_t version) {
    ((struct names *)node_part(n, &part_names))->rules.version = version;
}

void names_on_asked(const struct node *n,
                    void (*fn)(const struct repo_name *repo, const char *tag, const struct tag_facts *facts, void *arg),
                    void *arg) {
    struct names *s = node_part(n, &part_names);
    s->asked_arg = arg;
    s->asked = fn;
}

const struct central_config *central_config_of(const struct node *n) {
    return (const struct central_config *)(const void *)n->config;
}
