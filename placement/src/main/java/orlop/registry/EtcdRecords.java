package orlop.registry;

import com.google.protobuf.ByteString;
import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.KeyValue;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import orlop.placement.Alias;
import orlop.placement.Copy;
import orlop.placement.Delta;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Pod;

/**
 * Key-value pairs as changes of the view. A value that cannot be read counts as absent, so that a
 * view does not depend on the way it was made; each such key is logged once. Thread-safe, but for
 * {@link Snapshot}.
 */
final class EtcdRecords {
  private static final Logger LOG = System.getLogger(EtcdRecords.class.getName());
  private static final int MAX_LOGGED = 10_000;

  private final Keyspace keys;
  private final Values values = new Values();
  private final ByteSequence leader;
  private final ByteSequence next;
  private final Set<String> logged = ConcurrentHashMap.newKeySet();
  private final AtomicLong unreadable = new AtomicLong();

  EtcdRecords(Keyspace keys) {
    this.keys = keys;
    leader = EtcdStore.bytes(keys.leader());
    next = EtcdStore.bytes(keys.next());
  }

  Keyspace keys() {
    return keys;
  }

  Values values() {
    return values;
  }

  boolean isElection(ByteSequence key) {
    return key.equals(leader) || key.equals(next);
  }

  /** How many values could not be read so far. */
  long unreadable() {
    return unreadable.get();
  }

  /** What the pair, put or deleted, changes; null when it changes no view. */
  @Nullable Delta delta(KeyValue kv, boolean put) {
    String text = kv.getKey().toString(StandardCharsets.UTF_8);
    Keyspace.Key key = keys.parse(text);
    if (key == null) {
      skip(text, "no key of this mesh's layout");
      return null;
    }
    if (put) {
      try {
        return read(key, ByteString.copyFrom(kv.getValue().getBytes()));
      } catch (Values.Unreadable e) {
        skip(text, String.valueOf(e.getMessage()));
      }
    }
    return switch (key) {
      case Keyspace.Key.OfModel(String id) -> new Delta.ModelRemoved(id);
      case Keyspace.Key.OfAlias(String name) -> new Delta.AliasRemoved(name);
      case Keyspace.Key.OfPod(String id) -> new Delta.PodRemoved(id);
      case Keyspace.Key.OfCopy(String podId, String modelId) ->
          new Delta.CopyRemoved(podId, modelId);
      case Keyspace.Key.OfSetting(String name) -> new Delta.SettingRemoved(name);
      case Keyspace.Key.OfElection() -> null;
    };
  }

  private @Nullable Delta read(Keyspace.Key key, ByteString value) throws Values.Unreadable {
    return switch (key) {
      case Keyspace.Key.OfModel(String id) -> new Delta.ModelPut(values.model(id, value));
      case Keyspace.Key.OfAlias(String name) -> new Delta.AliasPut(values.alias(name, value));
      case Keyspace.Key.OfPod(String id) -> new Delta.PodPut(values.pod(id, value));
      case Keyspace.Key.OfCopy(String podId, String modelId) ->
          new Delta.CopyPut(values.copy(podId, modelId, value));
      case Keyspace.Key.OfSetting(String name) ->
          new Delta.SettingPut(name, value.toStringUtf8().strip());
      case Keyspace.Key.OfElection() -> null;
    };
  }

  private void skip(String key, String why) {
    unreadable.incrementAndGet();
    if (logged.size() < MAX_LOGGED && logged.add(key)) {
      LOG.log(Level.WARNING, "registry key {0} is skipped: {1}", key, why);
    }
  }

  Snapshot snapshot(long revision, long clusterId) {
    return new Snapshot(revision, clusterId);
  }

  /** Everything under the prefix at one revision. Not thread-safe. */
  final class Snapshot {
    private final long revision;
    private final long clusterId;
    private final List<Delta> puts = new ArrayList<>();
    private int size;

    Snapshot(long revision, long clusterId) {
      this.revision = revision;
      this.clusterId = clusterId;
    }

    long revision() {
      return revision;
    }

    long clusterId() {
      return clusterId;
    }

    int size() {
      return size;
    }

    void add(KeyValue kv) {
      size++;
      Delta delta = delta(kv, true);
      if (delta != null) {
        puts.add(delta);
      }
    }

    /** The view at this revision; a record that is as it was in {@code old} is the same object. */
    MeshView view(MeshView old) {
      List<Delta> all = new ArrayList<>(puts.size());
      for (Delta put : puts) {
        all.add(
            switch (put) {
              case Delta.ModelPut(Model m) -> new Delta.ModelPut(same(m, old.model(m.id())));
              case Delta.AliasPut(Alias a) -> new Delta.AliasPut(same(a, old.alias(a.name())));
              case Delta.PodPut(Pod p) -> new Delta.PodPut(same(p, old.pod(p.id())));
              case Delta.CopyPut(Copy c) ->
                  new Delta.CopyPut(same(c, old.copy(c.podId(), c.modelId())));
              case Delta.SettingPut s -> s;
              case Delta.SettingRemoved r -> r;
              case Delta.ModelRemoved r -> r;
              case Delta.AliasRemoved r -> r;
              case Delta.PodRemoved r -> r;
              case Delta.CopyRemoved r -> r;
            });
      }
      return MeshView.empty().with(all, revision);
    }

    private static <T> T same(T now, @Nullable T before) {
      return before != null && now.equals(before) ? before : now;
    }
  }
}
