/* What client-config prints, against golden text; and which address it names. */
#include "common/admin/engine_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const two[] = {"docker.io", "ghcr.io"};
static const struct client_facts plain = {
    .host = "10.1.0.5:5050", .upstreams = two, .n_upstreams = 2, .default_upstream = "docker.io"};
static const struct client_facts secure = {.host = "registry.img.acme.example:5050",
                                           .tls = true,
                                           .upstreams = two,
                                           .n_upstreams = 2,
                                           .default_upstream = "docker.io"};
static const struct client_facts local = {
    .host = "127.0.0.1:5050", .loopback = true, .upstreams = two, .n_upstreams = 2, .default_upstream = "docker.io"};

static void expect(const char *kind, const struct client_facts *f, size_t i, const char *path, const char *content) {
    struct client_files files;
    struct error err = {0};
    assert_int_equal(client_config_files(kind, f, &files, &err), 0);
    assert_true(files.n > i);
    assert_string_equal(files.items[i].path, path);
    assert_string_equal(files.items[i].content, content);
    client_files_fini(&files);
}

static void docker_gets_a_mirror_and_the_insecure_registry(void **state) {
    (void)state;
    expect("docker", &plain, 0, "/etc/docker/daemon.json",
           "{\n"
           "  \"registry-mirrors\": [\"http://10.1.0.5:5050\"],\n"
           "  \"insecure-registries\": [\"10.1.0.5:5050\"]\n"
           "}\n");
    expect("docker", &local, 0, "/etc/docker/daemon.json",
           "{\n"
           "  \"registry-mirrors\": [\"http://127.0.0.1:5050\"]\n"
           "}\n");
    expect("docker", &secure, 0, "/etc/docker/daemon.json",
           "{\n"
           "  \"registry-mirrors\": [\"https://registry.img.acme.example:5050\"]\n"
           "}\n");
}

/* dockerd would take another registry's images for the Hub's. */
static void docker_gets_no_mirror_where_bare_names_are_not_the_hubs(void **state) {
    (void)state;
    struct client_facts f = plain;
    f.default_upstream = "ghcr.io";
    expect("docker", &f, 0, "/etc/docker/daemon.json", "{\n  \"insecure-registries\": [\"10.1.0.5:5050\"]\n}\n");
    struct client_files files;
    assert_int_equal(client_config_files("docker", &f, &files, NULL), 0);
    assert_non_null(strstr(files.note, "not what a bare name means"));
    client_files_fini(&files);
}

static void containerd_gets_one_hosts_file_for_each_upstream(void **state) {
    (void)state;
    expect("containerd", &plain, 0, "/etc/containerd/config.toml",
           "version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n"
           "  config_path = \"/etc/containerd/certs.d\"\n");
    expect("containerd", &plain, 1, "/etc/containerd/certs.d/docker.io/hosts.toml",
           "server = \"https://registry-1.docker.io\"\n\n"
           "[host.\"http://10.1.0.5:5050\"]\n"
           "  capabilities = [\"pull\", \"resolve\"]\n");
    expect("containerd", &secure, 2, "/etc/containerd/certs.d/ghcr.io/hosts.toml",
           "server = \"https://ghcr.io\"\n\n"
           "[host.\"https://registry.img.acme.example:5050\"]\n"
           "  capabilities = [\"pull\", \"resolve\"]\n");
    expect("containerd", &plain, 3, "/etc/containerd/certs.d/10.1.0.5:5050/hosts.toml",
           "server = \"http://10.1.0.5:5050\"\n\n"
           "[host.\"http://10.1.0.5:5050\"]\n"
           "  capabilities = [\"pull\", \"resolve\"]\n");
}

/* containers/image sends no ns: the upstream stands in the mirror's path. */
static void podman_and_crio_name_the_upstream_in_the_mirrors_path(void **state) {
    (void)state;
    static const char golden[] = "[[registry]]\n"
                                 "prefix = \"docker.io\"\n"
                                 "location = \"docker.io\"\n"
                                 "\n"
                                 "[[registry.mirror]]\n"
                                 "location = \"10.1.0.5:5050/docker.io\"\n"
                                 "insecure = true\n"
                                 "\n"
                                 "[[registry]]\n"
                                 "prefix = \"ghcr.io\"\n"
                                 "location = \"ghcr.io\"\n"
                                 "\n"
                                 "[[registry.mirror]]\n"
                                 "location = \"10.1.0.5:5050/ghcr.io\"\n"
                                 "insecure = true\n"
                                 "\n"
                                 "[[registry]]\n"
                                 "prefix = \"10.1.0.5:5050\"\n"
                                 "location = \"10.1.0.5:5050\"\n"
                                 "insecure = true\n";
    expect("podman", &plain, 0, "/etc/containers/registries.conf.d/50-entrepot.conf", golden);
    expect("cri-o", &plain, 0, "/etc/containers/registries.conf.d/50-entrepot.conf", golden);
    struct client_files files;
    assert_int_equal(client_config_files("podman", &secure, &files, NULL), 0);
    assert_null(strstr(files.items[0].content, "insecure"));
    assert_non_null(strstr(files.note, "/etc/containers/certs.d/registry.img.acme.example:5050/ca.crt"));
    client_files_fini(&files);
}

static void podman_is_told_which_upstream_it_cannot_mirror(void **state) {
    (void)state;
    static const char *const with_port[] = {"docker.io", "localhost:5000"};
    struct client_facts f = plain;
    f.upstreams = with_port;
    struct client_files files;
    assert_int_equal(client_config_files("podman", &f, &files, NULL), 0);
    assert_null(strstr(files.items[0].content, "localhost:5000"));
    assert_non_null(strstr(files.note, "localhost:5000 cannot be mirrored"));
    client_files_fini(&files);
    f.default_upstream = "localhost:5000";
    assert_int_equal(client_config_files("podman", &f, &files, NULL), 0);
    assert_non_null(strstr(files.items[0].content, "prefix = \"localhost:5000\"\nlocation = \"localhost:5000\"\n\n"
                                                   "[[registry.mirror]]\nlocation = \"10.1.0.5:5050\"\n"));
    client_files_fini(&files);
}

static void k3s_gets_a_mirror_for_each_upstream(void **state) {
    (void)state;
    expect("k3s", &plain, 0, "/etc/rancher/k3s/registries.yaml",
           "mirrors:\n"
           "  \"docker.io\":\n    endpoint:\n      - \"http://10.1.0.5:5050\"\n"
           "  \"ghcr.io\":\n    endpoint:\n      - \"http://10.1.0.5:5050\"\n"
           "  \"10.1.0.5:5050\":\n    endpoint:\n      - \"http://10.1.0.5:5050\"\n");
}

static const char *content_at(const struct client_files *files, const char *path) {
    for (size_t i = 0; i < files->n; i++)
        if (strcmp(files->items[i].path, path) == 0) return files->items[i].content;
    fail_msg("no file %s", path);
    return NULL;
}

/* An authority that is known is put where the engine looks, and named where the engine wants its name. */
static void a_known_authority_is_put_where_each_engine_wants_it(void **state) {
    (void)state;
    struct client_facts f = {.host = "10.1.0.5:5050",
                             .tls = true,
                             .ca = "-----BEGIN…\n",
                             .upstreams = two,
                             .n_upstreams = 2,
                             .default_upstream = "docker.io"};
    static const struct {
        const char *kind, *ca, *other, *says;
    } cases[] = {
        {"docker", "/etc/docker/certs.d/10.1.0.5:5050/ca.crt", "/etc/docker/certs.d/ghcr.io/hosts.toml",
         "server = \"https://ghcr.io\"\n\n[host.\"https://10.1.0.5:5050\"]\n  capabilities = [\"pull\", "
         "\"resolve\"]\n  ca = \"/etc/docker/certs.d/10.1.0.5:5050/ca.crt\"\n"},
        {"containerd", "/etc/containerd/certs.d/10.1.0.5:5050/ca.crt",
         "/etc/containerd/certs.d/10.1.0.5:5050/hosts.toml",
         "server = \"https://10.1.0.5:5050\"\nca = \"/etc/containerd/certs.d/10.1.0.5:5050/ca.crt\"\n"},
        {"podman", "/etc/containers/certs.d/10.1.0.5:5050/ca.crt", "/etc/containers/registries.conf.d/50-entrepot.conf",
         "location = \"10.1.0.5:5050/docker.io\"\n\n"},
        {"cri-o", "/etc/containers/certs.d/10.1.0.5:5050/ca.crt", "/etc/containers/registries.conf.d/50-entrepot.conf",
         "location = \"10.1.0.5:5050/ghcr.io\"\n\n"},
        {"k3s", "/etc/rancher/k3s/entrepot-ca.crt", "/etc/rancher/k3s/registries.yaml",
         "configs:\n  \"10.1.0.5:5050\":\n    tls:\n      ca_file: /etc/rancher/k3s/entrepot-ca.crt\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client_files files;
        struct error err = {0};
        assert_int_equal(client_config_files(cases[i].kind, &f, &files, &err), 0);
        assert_string_equal(content_at(&files, cases[i].ca), f.ca);
        const char *other = content_at(&files, cases[i].other);
        if (!strstr(other, cases[i].says)) fail_msg("%s:\n%s", cases[i].other, other);
        assert_true(!files.note || !strstr(files.note, "your own CA"));
        client_files_fini(&files);
    }
    strcpy(f.host, "[2001:db8::5]:5050");
    expect("containerd", &f, 1, "/etc/containerd/certs.d/docker.io/hosts.toml",
           "server = \"https://registry-1.docker.io\"\n\n[host]\n  \"https://[2001:db8::5]:5050\" = { capabilities = "
           "[\"pull\", \"resolve\"], ca = \"/etc/containerd/certs.d/[2001:db8::5]:5050/ca.crt\" }\n");
}

static void unknown_kind_names_the_known(void **state) {
    (void)state;
    struct client_files files;
    struct error err = {0};
    assert_int_equal(client_config_files("rkt", &plain, &files, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.hint, "containerd"));
    client_files_fini(&files);
}

static void expect_host(struct node_config node, const char *host, bool loopback) {
    struct client_facts f;
    client_facts_find(&f, &node);
    assert_string_equal(f.host, host);
    assert_int_equal(f.loopback, loopback);
}

static void address_is_the_configured_one_else_what_is_listened_on(void **state) {
    (void)state;
    char any[] = ":5050", local4[] = "127.0.0.1:5051", local6[] = "[::1]:5052", own[] = "10.9.8.7:5053";
    char address[] = "10.1.0.5", six[] = "2001:db8::5", name[] = "img.acme.example", cert[] = "/x";
    char *names[] = {name};
    expect_host((struct node_config){.registry_listen = any, .address = address}, "10.1.0.5:5050", false);
    expect_host((struct node_config){.registry_listen = any, .address = six}, "[2001:db8::5]:5050", false);
    expect_host((struct node_config){.registry_listen = local4}, "127.0.0.1:5051", true);
    expect_host((struct node_config){.registry_listen = local6}, "[::1]:5052", true);
    expect_host((struct node_config){.registry_listen = own}, "10.9.8.7:5053", false);
    expect_host(
        (struct node_config){
            .registry_listen = any, .registry_cert_file = cert, .registry_names = names, .n_registry_names = 1},
        "img.acme.example:5050", false);
}

static void an_address_is_found_when_none_is_given(void **state) {
    (void)state;
    char any[] = "0.0.0.0:5050";
    struct node_config node = {.registry_listen = any};
    struct client_facts f;
    client_facts_find(&f, &node);
    assert_true(strlen(f.host) > 5 && f.host[0] != ':' && strcmp(f.host, "0.0.0.0:5050") != 0);
    assert_string_equal(strrchr(f.host, ':'), ":5050");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(docker_gets_a_mirror_and_the_insecure_registry),
        cmocka_unit_test(docker_gets_no_mirror_where_bare_names_are_not_the_hubs),
        cmocka_unit_test(containerd_gets_one_hosts_file_for_each_upstream),
        cmocka_unit_test(podman_and_crio_name_the_upstream_in_the_mirrors_path),
        cmocka_unit_test(podman_is_told_which_upstream_it_cannot_mirror),
        cmocka_unit_test(k3s_gets_a_mirror_for_each_upstream),
        cmocka_unit_test(a_known_authority_is_put_where_each_engine_wants_it),
        cmocka_unit_test(unknown_kind_names_the_known),
        cmocka_unit_test(address_is_the_configured_one_else_what_is_listened_on),
        cmocka_unit_test(an_address_is_found_when_none_is_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
