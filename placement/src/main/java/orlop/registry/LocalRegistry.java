package orlop.registry;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import orlop.placement.Alias;
import orlop.placement.Copy;
import orlop.placement.CopyState;
import orlop.placement.Delta;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Pod;

/**
 * A registry inside one process: the pods, the planner and the doors of one JVM share one instance.
 * Nothing outlives it. Keeps the contract of {@link EtcdRegistry}; a write is in the view when it
 * returns. Thread-safe.
 */
public final class LocalRegistry implements Registry {
  private static final Standing.Place[] PLACES = Standing.Place.values();

  private final Object lock = new Object();
  private final Broadcast broadcast = new Broadcast("orlop-registry", MeshView.empty());

  // Guarded by lock for writing.
  private volatile MeshView view = MeshView.empty();
  private final Map<String, LocalSession> sessions = new HashMap<>();
  // The first one leads, the second one is next.
  private final List<Candidate> candidates = new ArrayList<>();
  private boolean closed;

  @Override
  public MeshView view() {
    return view;
  }

  @Override
  public Subscription listen(Consumer<MeshView> listener) {
    return broadcast.listen(listener);
  }

  @Override
  public Model createModel(Model model) throws RegistryException {
    synchronized (lock) {
      checkOpen();
      Model older = view.model(model.id());
      if (older != null) {
        return older;
      }
      apply(List.of(new Delta.ModelPut(model)));
      return model;
    }
  }

  @Override
  public boolean deleteModel(String modelId) throws RegistryException {
    synchronized (lock) {
      checkOpen();
      if (view.model(modelId) == null) {
        return false;
      }
      apply(List.of(new Delta.ModelRemoved(modelId)));
      return true;
    }
  }

  @Override
  public boolean compareAndSetAlias(String name, @Nullable Alias expected, @Nullable Alias next)
      throws RegistryException {
    Aliases.check(name, expected, next);
    synchronized (lock) {
      checkOpen();
      if (!Objects.equals(view.alias(name), expected)) {
        return false;
      }
      if (next != null) {
        apply(List.of(new Delta.AliasPut(next)));
      } else if (expected != null) {
        apply(List.of(new Delta.AliasRemoved(name)));
      }
      return true;
    }
  }

  @Override
  public PodSession join(Pod pod) throws RegistryException {
    synchronized (lock) {
      checkOpen();
      Pod standing = view.pod(pod.id());
      if (standing != null && !standing.address().equals(pod.address())) {
        throw new RegistryException(
            "pod '%s' is in the mesh already, at %s; ids must be unique, give this pod at %s another"
                .formatted(pod.id(), standing.address(), pod.address()),
            null);
      }
      LocalSession session = new LocalSession(pod.id());
      LocalSession older = sessions.put(pod.id(), session);
      if (older != null) {
        older.left = true;
      }
      apply(List.of(new Delta.PodPut(pod)));
      return session;
    }
  }

  @Override
  public Subscription campaign(String candidateId, Consumer<Standing> listener) {
    Candidate candidate = new Candidate(candidateId, listener);
    synchronized (lock) {
      if (closed) {
        return candidate;
      }
      candidates.add(candidate);
      tellCandidates();
    }
    return candidate;
  }

  private void tellCandidates() {
    for (int i = 0; i < candidates.size(); i++) {
      Standing.Place place = PLACES[Math.min(i, PLACES.length - 1)];
      candidates.get(i).tell(new Standing(place, candidates.getFirst().id));
    }
  }

  @Override
  public boolean connected() {
    synchronized (lock) {
      return !closed;
    }
  }

  @Override
  public void close() {
    synchronized (lock) {
      List.copyOf(sessions.values()).forEach(LocalSession::close);
      List.copyOf(candidates).reversed().forEach(Candidate::close);
      closed = true;
    }
    broadcast.close();
  }

  private void checkOpen() throws RegistryException {
    if (closed) {
      throw new RegistryException("the in-process registry is closed", null);
    }
  }

  private void apply(List<Delta> deltas) {
    view = view.with(deltas, view.revision() + 1);
    broadcast.offer(view);
  }

  private final class LocalSession implements PodSession {
    private final String podId;
    // Guarded by lock.
    private boolean left;

    LocalSession(String podId) {
      this.podId = podId;
    }

    @Override
    public void publish(Pod pod) {
      if (!pod.id().equals(podId)) {
        throw new IllegalArgumentException(
            "this session publishes pod '" + podId + "', not '" + pod.id() + "'");
      }
      write(new Delta.PodPut(pod));
    }

    @Override
    public void publish(String modelId, CopyState state, long sinceMs) {
      if (state instanceof CopyState.Unloading) {
        withdraw(modelId);
      } else {
        write(new Delta.CopyPut(new Copy(modelId, podId, state, sinceMs)));
      }
    }

    @Override
    public void withdraw(String modelId) {
      write(new Delta.CopyRemoved(podId, modelId));
    }

    @Override
    public boolean flush(long timeoutMs) {
      synchronized (lock) {
        return !left;
      }
    }

    private void write(Delta delta) {
      synchronized (lock) {
        if (!left) {
          apply(List.of(delta));
        }
      }
    }

    @Override
    public void close() {
      synchronized (lock) {
        if (left) {
          return;
        }
        left = true;
        sessions.remove(podId);
        List<Delta> gone = new ArrayList<>();
        for (Copy copy : view.copiesIn(podId)) {
          gone.add(new Delta.CopyRemoved(podId, copy.modelId()));
        }
        gone.add(new Delta.PodRemoved(podId));
        apply(gone);
      }
    }
  }

  private final class Candidate implements Subscription {
    final String id;
    private final Consumer<Standing> listener;

    /** Guarded by lock for writing. */
    private volatile Standing standing = Standing.NONE;

    Candidate(String id, Consumer<Standing> listener) {
      this.id = id;
      this.listener = listener;
    }

    private void tell(Standing now) {
      if (!standing.equals(now)) {
        standing = now;
        broadcast.run(
            () -> {
              if (now == Standing.NONE || standing.equals(now)) {
                listener.accept(now);
              }
            });
      }
    }

    @Override
    public void close() {
      synchronized (lock) {
        if (candidates.remove(this)) {
          tell(Standing.NONE);
          tellCandidates();
        }
      }
    }
  }
}
