/* Keeps the uplink, this edge's identity and central's settings for the other parts. Thread: as node_part.h says of
 * each function. */
#include "edge/link/link_part.h"

#include "common/access/query.h"
#include "common/admin/api_answer.h"
#include "common/admin/job.h"
#include "common/core/alloc.h"
#include "common/core/log.h"
#include "edge/config/edge_config.h"
#include "edge/link/fleet_sync.h"
#include "edge/link/registry_cert.h"
#include "edge/link/renewal.h"
#include "edge/link/roam.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct link {
    struct node *node;
    struct settings *settings;
    struct uplink *uplink;
    struct renewal *renewal;
    struct fleet_sync *sync;
    struct roam *roam;
    struct registry_cert *registry_cert; /* NULL: registry.tls is not fleet */
    void (*changed)(void *arg);          /* of another part; NULL: none */
    unsigned pulls;                      /* as link_pulls says */
    void *changed_arg;
    char problem[512];    /* why the identity on disk is not used; "": none */
    pthread_mutex_t lock; /* guards what follows */
    struct member shown;  /* of the identity in use; role MEMBER_NONE: none */
    int roots;            /* that it trusts */
    char *roots_pem;      /* NULL: it has not joined */
};

/* --- a change, on the fetch loop or before it runs --- */

static void show(struct link *l) {
    const struct identity *id = uplink_identity(l->uplink);
    char *pem = id ? identity_roots_pem(id) : NULL;
    pthread_mutex_lock(&l->lock);
    if (id) l->shown = id->who;
    free(l->roots_pem);
    l->roots_pem = pem;
    l->roots = id ? sk_X509_num(id->roots) : 0;
    pthread_mutex_unlock(&l->lock);
}

static void on_change(bool renewed, void *arg) {
    struct link *l = arg;
    show(l);
    fleet_sync_doubt(l->sync);
    renewal_look(l->renewal);
    if (l->registry_cert) registry_cert_ask(l->registry_cert);
    if (!renewed && l->changed) l->changed(l->changed_arg);
}

/* What `join` has written, on its way to the fetch loop. */
struct arrival {
    struct link *link;
    struct identity id;
    char *url;
};

static void on_arrival(void *arg) {
    struct arrival *a = arg;
    uplink_use(a->link->uplink, &a->id, a->url);
    free(a->url);
    free(a);
}

static void run_take(struct job *j) {
    struct link *l = j->arg;
    struct error err = {0};
    struct arrival *a = xcalloc(1, sizeof(*a));
    if (identity_load(&a->id, l->node->config->data, &err) < 0) {
        free(a);
        job_error(j, &err);
        return;
    }
    a->link = l;
    a->url = xstrdup(j->a);
    log_info("identity_taken", KV_S("edge", a->id.who.name), KV_S("site", a->id.who.site), KV_S("central", j->a));
    job_json(j, 200, json_pack("{s:s, s:s}", "name", a->id.who.name, "site", a->id.who.site));
    loop_call(l->node->fetch, on_arrival, a);
}

/* POST /api/identity?central=URL: the identity on disk is another, and central is there. */
static void post_identity(struct http_req *req, void *arg) {
    struct link *l = arg;
    char url[QUERY_PARAM_MAX];
    struct http_url parsed;
    if (query_param(http_req_target(req), "central", url) != 1 || !http_url_parse(url, &parsed)) {
        api_reply_error(req, 400, "central (a URL) is needed", "");
        return;
    }
    job_start(&(struct job_order){.pool = l->node->pool, .run = run_take, .arg = l, .a = url}, req);
}

/* GET /api/registry/ca: {"pem"}, the roots below which the registry port's certificate is. */
static void get_ca(struct http_req *req, void *arg) {
    struct link *l = arg;
    pthread_mutex_lock(&l->lock);
    json_t *pem = l->registry_cert && l->roots_pem ? json_string(l->roots_pem) : NULL;
    pthread_mutex_unlock(&l->lock);
    if (pem)
        api_reply_json(req, 200, json_pack("{s:o}", "pem", pem));
    else
        api_reply_error(req, 404, "registry.tls is not fleet, or this edge has not joined", "");
}

static const struct route routes[] = {{"/api/identity", METHODS_POST, PORT_CONTROL, post_identity},
                                      {"/api/registry/ca", METHODS_READ, PORT_CONTROL, get_ca},
                                      {0}};

/* --- for people --- */

/* Where central is and will be, and how many edges are known to be removed. */
static json_t *fleet_json(struct link *l) {
    char told[WIRE_ADDRESSES_MAX][WIRE_ADDRESS_MAX];
    size_t n = fleet_sync_addresses(l->sync, told);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_string(told[i]));
    return json_pack("{s:s, s:o, s:I}", "central", uplink_url(l->uplink), "addresses", list, "removed",
                     (json_int_t)fleet_sync_removed(l->sync));
}

static void status(json_t *into, void *self) {
    struct link *l = self;
    const struct name_rules *r = settings_rules(l->settings);
    json_t *list = json_array();
    for (size_t i = 0; i < r->n_upstreams; i++)
        json_array_append_new(list, json_pack("{s:s}", "name", r->upstreams[i]));
    json_object_set_new(into, "upstreams", list);
    json_object_set_new(into, "default_upstream", r->default_upstream ? json_string(r->default_upstream) : json_null());
    pthread_mutex_lock(&l->lock);
    struct member m = l->shown;
    pthread_mutex_unlock(&l->lock);
    json_t *id = json_null();
    const char *site = ((const struct edge_config *)(const void *)l->node->config)->site;
    if (m.role == MEMBER_EDGE)
        id = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "configured_site", site ? site : "", "name", m.name, "site",
                       m.site, "fleet", m.fleet, "generation", (json_int_t)m.generation, "certificate_not_after",
                       (json_int_t)m.not_after);
    else if (l->problem[0])
        id = json_pack("{s:s}", "problem", l->problem);
    json_object_set_new(into, "identity", id);
    json_object_set_new(into, "fleet", fleet_json(l));
    if (l->registry_cert) json_object_set_new(into, "registry_certificate", registry_cert_json(l->registry_cert));
}

/* --- life --- */

/* The certificate decides the site; the configuration's key must agree with it. */
static void check_site(const struct link *l) {
    const char *site = ((const struct edge_config *)(const void *)l->node->config)->site;
    if (!site || !site[0] || strcmp(site, l->shown.site) == 0) return;
    log_error("identity_of_other_site", KV_S("configured", site), KV_S("joined", l->shown.site),
              KV_S("hint", "correct the key site, or join anew with a token for that site"));
}

static void load(struct link *l) {
    struct identity id;
    struct error err = {0};
    int r = identity_load(&id, l->node->config->data, &err);
    if (r == 0) {
        uplink_use(l->uplink, &id, NULL);
        show(l);
        check_site(l);
    } else if (r != ERR_NOT_FOUND) {
        snprintf(l->problem, sizeof(l->problem), "%s", err.msg);
        log_error("identity_unusable", KV_S("why", err.msg), KV_S("hint", err.hint));
    }
}

static void metrics(struct metric_page *page, void *self) {
    struct link *l = self;
    pthread_mutex_lock(&l->lock);
    struct member m = l->shown;
    int roots = l->roots;
    pthread_mutex_unlock(&l->lock);
    if (m.role != MEMBER_EDGE) return;
    metric_label_set(page, FAMILY_CERTIFICATE_END, "fleet", NULL, (double)m.not_after);
    metric_set(page, METRIC_IDENTITY_GENERATION, (double)m.generation);
    metric_set(page, METRIC_IDENTITY_ROOTS, roots);
}

static int start(struct node *n, void **self, struct error *err) {
    (void)err;
    struct link *l = xcalloc(1, sizeof(*l));
    const struct edge_config *cfg = (const struct edge_config *)(const void *)n->config;
    const struct settings_own own = {n->config->registry_names, n->addresses, n->config->n_registry_names,
                                     n->n_addresses};
    l->node = n;
    pthread_mutex_init(&l->lock, NULL);
    l->settings = settings_new(n->config->data, &own);
    char *url = roam_last(n->config->data, cfg->central);
    l->uplink = uplink_new(url, cfg->central_proxy);
    free(url);
    load(l);
    l->renewal = renewal_new(&(struct renewal_config){
        .uplink = l->uplink, .data = n->config->data, .loop = n->fetch, .client = n->client, .pool = n->pool});
    l->sync = fleet_sync_new(&(struct fleet_sync_config){.uplink = l->uplink,
                                                         .renewal = l->renewal,
                                                         .data = n->config->data,
                                                         .loop = n->fetch,
                                                         .client = n->client,
                                                         .pool = n->pool});
    l->roam = roam_new(&(struct roam_config){.uplink = l->uplink,
                                             .sync = l->sync,
                                             .data = n->config->data,
                                             .configured = cfg->central,
                                             .loop = n->fetch,
                                             .client = n->client,
                                             .pool = n->pool});
    if (n->config->registry_tls == REGISTRY_TLS_FLEET) l->registry_cert = registry_cert_new(n, l->uplink);
    uplink_on_change(l->uplink, on_change, l);
    *self = l;
    return 0;
}

static void running(void *self) {
    struct link *l = self;
    renewal_look(l->renewal);
    if (l->registry_cert) registry_cert_ask(l->registry_cert);
}

static void stop(void *self) {
    struct link *l = self;
    registry_cert_free(l->registry_cert);
    roam_free(l->roam);
    fleet_sync_free(l->sync);
    renewal_free(l->renewal);
    uplink_free(l->uplink);
    settings_free(l->settings);
    pthread_mutex_destroy(&l->lock);
    free(l->roots_pem);
    free(l);
}

const struct node_part part_link = {.name = "link",
                                    .start = start,
                                    .running = running,
                                    .stop = stop,
                                    .routes = routes,
                                    .status = status,
                                    .metrics = metrics};

static struct link *link_of(const struct node *n) {
    return node_part(n, &part_link);
}

struct settings *settings_of(const struct node *n) {
    return link_of(n)->settings;
}

const struct uplink *uplink_of(const struct node *n) {
    return link_of(n)->uplink;
}

bool link_member(const struct node *n, struct member *out) {
    struct link *l = link_of(n);
    pthread_mutex_lock(&l->lock);
    *out = l->shown;
    pthread_mutex_unlock(&l->lock);
    return out->role == MEMBER_EDGE;
}

void link_on_change(const struct node *n, void (*changed)(void *arg), void *arg) {
    struct link *l = link_of(n);
    l->changed = changed;
    l->changed_arg = arg;
}

unsigned *link_pulls(const struct node *n) {
    return &link_of(n)->pulls;
}

void link_fleet_told(const struct node *n, uint64_t version) {
    fleet_sync_told(link_of(n)->sync, version);
}

void link_central_away(const struct node *n) {
    roam_away(link_of(n)->roam);
}
