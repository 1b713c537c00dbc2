/* Opens a store, or asks the daemon that has it open. Thread: as the header says. */
#include "common/inventory/store_alone.h"

#include "common/core/alloc.h"
#include "common/oci/resolve.h"
#include "common/oci/usual.h"
#include "common/admin/control_client.h"
#include "common/inventory/store_json.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const struct store_guard *central_guard;

void store_alone_set_guard(const struct store_guard *guard) {
    central_guard = guard;
}

int store_alone_as_owner(const char *data, struct error *err) {
    struct stat st;
    if (geteuid() != 0 || stat(data, &st) < 0 || st.st_uid == 0) return 0;
    if (setegid(st.st_gid) < 0 || seteuid(st.st_uid) < 0)
        return error_errno(err, "becoming user %u, whose the folder %s is", (unsigned)st.st_uid, data);
    return 0;
}

void store_alone_as_self(void) {
    if (getuid() != 0 || geteuid() == 0) return;
    int r = seteuid(0) < 0 || setegid(getgid()) < 0;
    (void)r; /* if this fails, the command goes on with fewer rights */
}

int store_alone_open(struct store_alone *a, const struct node_config *node, struct error *err) {
    memset(a, 0, sizeof(*a));
    char index[4200];
    snprintf(index, sizeof(index), "%.4000s/index.db", node->data);
    if (access(index, F_OK) < 0) {
        error_set(err, ERR_NOT_FOUND, "nothing is stored in %s yet", node->data);
        control_no_daemon_hint(node, err);
        return ERR_NOT_FOUND;
    }
    a->pool = workpool_new("work", 1);
    struct store_config cfg = {.dir = node->data,
                               .limit = node->store_limit,
                               .min_free = node->store_min_free,
                               .pool = a->pool,
                               .guard = node->kind == NODE_CENTRAL ? central_guard : NULL};
    int r = store_alone_as_owner(node->data, err);
    if (r == 0) r = store_open(&a->store, &cfg, err);
    if (r < 0) {
        store_alone_as_self();
        workpool_free(a->pool);
        a->pool = NULL;
        return r;
    }
    store_wait_reconciled(a->store);
    return 0;
}

void store_alone_close(struct store_alone *a) {
    if (a->store) store_close(a->store);
    if (a->pool) workpool_free(a->pool);
    store_alone_as_self();
}

/* 0: the daemon answered; 1: none runs. */
static int ask_daemon(const struct node_config *node, const char *path, json_t **out, struct error *err) {
    _cleanup_(control_closep) struct control *c = NULL;
    int r = control_open(&c, node, err);
    if (r == 0) r = control_json(c, "GET", path, out, err);
    return r == ERR_UNREACHABLE ? 1 : r;
}

/* The rules for names that are not canonical, if no daemon tells them. */
static bool usual_name(const char *given, char out[REPO_STR_MAX]) {
    static const char *const hub[] = {USUAL_HUB};
    const struct name_rules rules = {.upstreams = hub, .n_upstreams = 1, .default_upstream = hub[0]};
    struct repo_name repo;
    if (resolve_repo(&rules, NULL, given, strlen(given), &repo, NULL) < 0) return false;
    repo_name_str(&repo, out);
    return true;
}

int store_list(const struct node_config *node, const char *repo, json_t **out, struct error *err) {
    _cleanup_(freep) char *escaped = repo ? control_escape(repo) : NULL, *path = NULL;
    path = xasprintf("/api/ls%s%s", repo ? "?repo=" : "", repo ? escaped : "");
    int r = ask_daemon(node, path, out, err);
    if (r <= 0) return r;
    struct store_alone a;
    if ((r = store_alone_open(&a, node, err)) < 0) return r;
    r = store_list_json(a.store, repo, out, err);
    char name[REPO_STR_MAX];
    if (r == 0 && repo && json_array_size(json_object_get(*out, "tags")) == 0 && usual_name(repo, name)) {
        json_decref(*out);
        r = store_list_json(a.store, name, out, err);
    }
    store_alone_close(&a);
    return r;
}

int store_df(const struct node_config *node, json_t **out, struct error *err) {
    int r = ask_daemon(node, "/api/df", out, err);
    if (r <= 0) return r;
    struct store_alone a;
    if ((r = store_alone_open(&a, node, err)) < 0) return r;
    *out = store_usage_json(a.store);
    store_alone_close(&a);
    return 0;
}
