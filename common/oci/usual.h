/* The upstream registries that a node mirrors when its configuration names none. Thread: any (immutable). */
#ifndef ENTREPOT_OCI_USUAL_H
#define ENTREPOT_OCI_USUAL_H

#include <stddef.h>

/* What a bare name, as "nginx", is of. */
#define USUAL_HUB "docker.io"
/* The host that answers for it; the others answer under their names. */
#define USUAL_HUB_HOST "registry-1.docker.io"
/* The others. The configuration's schema makes its text from this list, and usual.c the array. */
#define USUAL_OTHERS(X) X("ghcr.io") X("quay.io") X("registry.k8s.io") X("gcr.io") X("mcr.microsoft.com")

extern const char *const usual_upstreams[]; /* the hub first */
extern const size_t usual_n_upstreams;

#endif
