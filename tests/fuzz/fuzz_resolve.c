/* Name resolution, image references and hosted patterns. Input: ns, path and a pattern, each on a line. What resolves
 * is a valid name and resolves to itself again; a hosted name never goes upstream. */
#include "common/oci/resolve.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *in = malloc(size + 1);
    if (size) memcpy(in, data, size);
    in[size] = '\0';
    char *rest = in, *ns = strsep(&rest, "\n"), *path = rest ? strsep(&rest, "\n") : ns, *pattern = rest ? rest : path;

    static const char *const upstreams[] = {"docker.io", "ghcr.io", "localhost:5000"}, *const own[] = {"me.example"};
    const char *const hosted[] = {"acme/**", pattern};
    static const char *const addresses[] = {"127.0.0.1:5050"};
    const struct name_rules rules = {upstreams, 3, "docker.io", hosted, 2, own, 1, addresses, 1};
    struct repo_name got, again;
    struct error err = {0};
    int r = resolve_repo(&rules, ns, path, strlen(path), &got, &err);
    assert(r == err.code);
    if (r == 0) {
        char s[REPO_STR_MAX];
        assert(repo_path_check(got.path, strlen(got.path)) == 0);
        assert(got.upstream[0] || hosted_match(&rules, got.path));
        repo_name_str(&got, s);
        assert(resolve_repo(&rules, NULL, s, strlen(s), &again, &err) == 0);
        assert(strcmp(got.upstream, again.upstream) == 0 && strcmp(got.path, again.path) == 0);
    }
    char name[REPO_STR_MAX];
    struct reference ref;
    if (image_ref_parse(in, name, &ref, &err) == 0) assert(name[0] && (ref.is_digest || ref.tag[0]));
    free(in);
    return 0;
}
