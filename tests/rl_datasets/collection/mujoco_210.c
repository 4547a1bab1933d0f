/* One step of MuJoCo 2.1.0 from each state on standard input; see mujoco_210.py.

   mujoco_210 MODEL.xml STATES FRAME_SKIP

   In:  for each state qpos, qvel and ctrl.
   Out: of the model nbody, body_mass, body_inertia, body_ipos and body_iquat;
        for each state qpos and qvel after FRAME_SKIP steps, before them the most contacts in one.
   All are doubles. */

#include <stdio.h>
#include <stdlib.h>

#include "mujoco.h"

static void put(const double *values, int count) { fwrite(values, sizeof(double), count, stdout); }

static void get(double *values, int count) {
  if (fread(values, sizeof(double), count, stdin) != (size_t)count) exit(2);
}

int main(int argc, char **argv) {
  char error[1000];
  if (argc != 4 || mj_version() != 210) return 1;
  mjModel *m = mj_loadXML(argv[1], NULL, error, sizeof error);
  if (!m) {
    fprintf(stderr, "%s\n", error);
    return 1;
  }
  const double bodies = m->nbody;
  put(&bodies, 1);
  put(m->body_mass, m->nbody);
  put(m->body_inertia, 3 * m->nbody);
  put(m->body_ipos, 3 * m->nbody);
  put(m->body_iquat, 4 * m->nbody);

  mjData *d = mj_makeData(m);
  double ctrl[64];
  for (int i = 0; i < atoi(argv[2]); i++) {
    mj_resetData(m, d);
    get(d->qpos, m->nq);
    get(d->qvel, m->nv);
    get(ctrl, m->nu);
    mj_forward(m, d);
    mju_copy(d->ctrl, ctrl, m->nu);
    double contacts = 0;
    for (int k = 0; k < atoi(argv[3]); k++) {
      mj_step(m, d);
      contacts = mju_max(contacts, d->ncon);
    }
    put(&contacts, 1);
    put(d->qpos, m->nq);
    put(d->qvel, m->nv);
  }
  return 0;
}
