/* The upstream registries that a node mirrors when its configuration names none. Thread: any (immutable). */
#ifndef ENTREPOT_OCI_USUAL_H
#define ENTREPOT_OCI_USUAL_H

#include <stddef.h>

/* The upstream of a bare name such as "nginx". */
#define USUAL_HUB "docker.io"
/* Its registry's host. The other upstreams are reached under their own names. */
#define USUAL_HUB_HOST "registry-1.docker.io"
/* The other upstreams. The configuration schema and usual.c are made from this list. */
#define USUAL_OTHERS(X) X("ghcr.io") X("quay.io") X("registry.k8s.io") X("gcr.io") X("mcr.microsoft.com")

extern const char *const usual_upstreams[]; /* the hub first */
extern const size_t usual_n_upstreams;

#endif
