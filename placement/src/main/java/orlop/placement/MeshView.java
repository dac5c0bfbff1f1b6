package orlop.placement;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Everything known of the mesh at one revision of the registry. Immutable: {@link #with} makes the
 * next view. Look-ups are O(1); the collections returned are unmodifiable.
 */
public final class MeshView {
  /*
   * Models and the copies of a model are spread over shards, so that one change copies one shard
   * (1/1024 of the entries) and shares the rest. Pods and aliases are few and are copied whole.
   */
  private static final int SHARDS = 1024;

  /** Unloaded models of one shard whose last pods are remembered. */
  private static final int GONE_PER_SHARD = 64;

  /** Pods remembered for each. */
  private static final int GONE_PER_MODEL = 2;

  private static final MeshView EMPTY = empty0();

  /**
   * A copy that was.
   *
   * @param atMs when it was last known to be in memory, milliseconds since the epoch
   */
  public record Gone(String podId, long atMs) {}

  private final long revision;
  private final Map<String, Model>[] models;
  private final Map<String, List<Copy>>[] copies;
  private final Map<String, List<Gone>>[] gone;
  private final Map<String, PodCopies> copiesByPod;
  private final Map<String, Alias> aliases;
  private final Map<String, Pod> pods;
  private final int modelCount;
  private final LabelRules rules;
  private final Map<String, String> settings;

  private MeshView(
      long revision,
      Map<String, Model>[] models,
      Map<String, List<Copy>>[] copies,
      Map<String, List<Gone>>[] gone,
      Map<String, PodCopies> copiesByPod,
      Map<String, Alias> aliases,
      Map<String, Pod> pods,
      int modelCount,
      LabelRules rules,
      Map<String, String> settings) {
    this.revision = revision;
    this.models = models;
    this.copies = copies;
    this.gone = gone;
    this.copiesByPod = copiesByPod;
    this.aliases = aliases;
    this.pods = pods;
    this.modelCount = modelCount;
    this.rules = rules;
    this.settings = settings;
  }

  public static MeshView empty() {
    return EMPTY;
  }

  @SuppressWarnings({"unchecked", "rawtypes"})
  private static MeshView empty0() {
    Map<String, Model>[] models = new Map[SHARDS];
    Map<String, List<Copy>>[] copies = new Map[SHARDS];
    Arrays.fill(models, Map.of());
    Arrays.fill(copies, Map.of());
    Map<String, List<Gone>>[] gone = new Map[SHARDS];
    Arrays.fill(gone, Map.of());
    return new MeshView(
        0, models, copies, gone, Map.of(), Map.of(), Map.of(), 0, LabelRules.NONE, Map.of());
  }

  public long revision() {
    return revision;
  }

  public int modelCount() {
    return modelCount;
  }

  public @Nullable Model model(String id) {
    return models[shard(id)].get(id);
  }

  /** Labels that a pod must carry to load the model: its own, and those of its type. */
  public Set<String> required(Model model) {
    return rules.required(model);
  }

  /** Labels that a pod should carry to load the model. */
  public Set<String> preferred(Model model) {
    return rules.preferred(model);
  }

  /** The same view under other rules; shares everything else. */
  public MeshView with(LabelRules other) {
    return new MeshView(
        revision, models, copies, gone, copiesByPod, aliases, pods, modelCount, other, settings);
  }

  /** What operators set for the whole mesh, by name; unmodifiable. */
  public Map<String, String> settings() {
    return Collections.unmodifiableMap(settings);
  }

  public @Nullable Alias alias(String name) {
    return aliases.get(name);
  }

  public @Nullable Pod pod(String id) {
    return pods.get(id);
  }

  /** All pods, in no order. */
  public Collection<Pod> pods() {
    return Collections.unmodifiableCollection(pods.values());
  }

  /** All aliases, in no order. */
  public Collection<Alias> aliases() {
    return Collections.unmodifiableCollection(aliases.values());
  }

  /** Calls {@code sink} with every model, in no order. O(models). */
  public void eachModel(Consumer<Model> sink) {
    for (Map<String, Model> shard : models) {
      shard.values().forEach(sink);
    }
  }

  /**
   * The copies of a model, in no order, whatever their state. A copy may stand in a pod that the
   * view no longer, or not yet, knows.
   */
  public List<Copy> copies(String modelId) {
    return copies[shard(modelId)].getOrDefault(modelId, List.of());
  }

  /**
   * The pods that a copy of the model last left, the latest first: where its files may still lie on
   * the disk. What the changes that made this view told, and of the models that left last alone; a
   * view that was made anew knows nothing.
   */
  public List<Gone> lastIn(String modelId) {
    return gone[shard(modelId)].getOrDefault(modelId, List.of());
  }

  /** The copies in a pod, in no order. */
  public Collection<Copy> copiesIn(String podId) {
    return copiesByPod.getOrDefault(podId, PodCopies.NONE).all();
  }

  public @Nullable Copy copy(String podId, String modelId) {
    return copiesByPod.getOrDefault(podId, PodCopies.NONE).of(modelId);
  }

  /** The model that a name stands for: an alias's active model, else the model of that id. */
  public @Nullable Model resolve(String name) {
    Alias alias = aliases.get(name);
    return model(alias == null ? name : alias.activeModelId());
  }

  /** Whether an alias serves the model or moves to it. O(aliases). */
  public boolean referred(String modelId) {
    for (Alias alias : aliases.values()) {
      if (alias.refersTo(modelId)) {
        return true;
      }
    }
    return false;
  }

  /**
   * The view after the changes, in order. O(changes + shards they touch), and all pods, aliases or
   * copies of a model when one of them changes.
   */
  public MeshView with(Iterable<Delta> changes, long newRevision) {
    return new Builder(this).apply(changes).build(newRevision);
  }

  private static int shard(String modelId) {
    return shard(modelId, SHARDS);
  }

  /**
   * Fibonacci hashing (Knuth, TAOCP 3, 6.4): the high bits of a product. The low bits of the hash
   * must stay free, because the map inside of a shard chooses its buckets by them.
   *
   * @param shards a power of two
   */
  static int shard(String modelId, int shards) {
    return (modelId.hashCode() * 0x9E3779B9) >>> Integer.numberOfLeadingZeros(shards - 1);
  }

  /** Copies on first write what it changes. */
  private static final class Builder {
    private final MeshView base;
    private Map<String, Model>[] models;
    private Map<String, List<Copy>>[] copies;
    private Map<String, List<Gone>>[] gone;
    private final boolean[] ownModels = new boolean[SHARDS];
    private final boolean[] ownCopies = new boolean[SHARDS];
    private final boolean[] ownGone = new boolean[SHARDS];
    private final Map<String, PodCopies.Draft> podCopies = new LinkedHashMap<>();
    private Map<String, Alias> aliases;
    private Map<String, Pod> pods;
    private int modelCount;
    private Map<String, String> settings;

    Builder(MeshView base) {
      this.base = base;
      models = base.models;
      copies = base.copies;
      gone = base.gone;
      aliases = base.aliases;
      pods = base.pods;
      modelCount = base.modelCount;
      settings = base.settings;
    }

    Builder apply(Iterable<Delta> changes) {
      for (Delta change : changes) {
        switch (change) {
          case Delta.ModelPut(Model model) -> {
            if (ownModelShard(model.id()).put(model.id(), model) == null) {
              modelCount++;
            }
          }
          case Delta.ModelRemoved(String id) -> {
            if (ownModelShard(id).remove(id) != null) {
              modelCount--;
            }
          }
          case Delta.AliasPut(Alias alias) -> ownAliases().put(alias.name(), alias);
          case Delta.AliasRemoved(String name) -> ownAliases().remove(name);
          case Delta.PodPut(Pod pod) -> ownPods().put(pod.id(), pod);
          case Delta.PodRemoved(String id) -> ownPods().remove(id);
          case Delta.CopyPut(Copy copy) -> putCopy(copy);
          case Delta.CopyRemoved(String podId, String modelId) -> removeCopy(podId, modelId);
          case Delta.SettingPut(String name, String value) -> ownSettings().put(name, value);
          case Delta.SettingRemoved(String name) -> ownSettings().remove(name);
        }
      }
      return this;
    }

    MeshView build(long revision) {
      return new MeshView(
          revision,
          models,
          copies,
          gone,
          copiesByPod(),
          aliases,
          pods,
          modelCount,
          base.rules,
          settings);
    }

    private Map<String, PodCopies> copiesByPod() {
      if (podCopies.isEmpty()) {
        return base.copiesByPod;
      }
      Map<String, PodCopies> next = new HashMap<>(base.copiesByPod);
      podCopies.forEach(
          (podId, draft) -> {
            if (draft.isEmpty()) {
              next.remove(podId);
            } else {
              next.put(podId, draft.done());
            }
          });
      return next;
    }

    private void putCopy(Copy copy) {
      dropCopy(copy.podId(), copy.modelId());
      List<Copy> list =
          new ArrayList<>(ownCopyShard(copy.modelId()).getOrDefault(copy.modelId(), List.of()));
      list.add(copy);
      ownCopyShard(copy.modelId()).put(copy.modelId(), List.copyOf(list));
      ownPodCopies(copy.podId()).put(copy);
    }

    private void removeCopy(String podId, String modelId) {
      dropCopy(podId, modelId);
      Copy left = ownPodCopies(podId).remove(modelId);
      if (left != null
          && (left.isLoaded() || left.state() instanceof CopyState.Unloading)
          && pods.containsKey(podId)) {
        remember(modelId, new Gone(podId, left.sinceMs()));
      }
    }

    /** The model that left longest ago is forgotten where there are too many. */
    private void remember(String modelId, Gone last) {
      Map<String, List<Gone>> shard = ownGoneShard(modelId);
      List<Gone> list = new ArrayList<>(GONE_PER_MODEL);
      list.add(last);
      List<Gone> before = shard.remove(modelId);
      if (before != null) {
        for (Gone older : before) {
          if (list.size() < GONE_PER_MODEL && !older.podId().equals(last.podId())) {
            list.add(older);
          }
        }
      }
      shard.put(modelId, List.copyOf(list));
      if (shard.size() > GONE_PER_SHARD) {
        shard.remove(shard.keySet().iterator().next());
      }
    }

    private void dropCopy(String podId, String modelId) {
      Map<String, List<Copy>> shard = ownCopyShard(modelId);
      List<Copy> old = shard.getOrDefault(modelId, List.of());
      List<Copy> kept = old.stream().filter(c -> !c.podId().equals(podId)).toList();
      if (kept.isEmpty()) {
        shard.remove(modelId);
      } else {
        shard.put(modelId, kept);
      }
    }

    private Map<String, Model> ownModelShard(String id) {
      if (models == base.models) {
        models = base.models.clone();
      }
      int i = shard(id);
      if (!ownModels[i]) {
        models[i] = new HashMap<>(models[i]);
        ownModels[i] = true;
      }
      return models[i];
    }

    private Map<String, List<Copy>> ownCopyShard(String id) {
      if (copies == base.copies) {
        copies = base.copies.clone();
      }
      int i = shard(id);
      if (!ownCopies[i]) {
        copies[i] = new HashMap<>(copies[i]);
        ownCopies[i] = true;
      }
      return copies[i];
    }

    private Map<String, List<Gone>> ownGoneShard(String id) {
      if (gone == base.gone) {
        gone = base.gone.clone();
      }
      int i = shard(id);
      if (!ownGone[i]) {
        gone[i] = new LinkedHashMap<>(gone[i]);
        ownGone[i] = true;
      }
      return gone[i];
    }

    private PodCopies.Draft ownPodCopies(String podId) {
      return podCopies.computeIfAbsent(
          podId, id -> new PodCopies.Draft(base.copiesByPod.getOrDefault(id, PodCopies.NONE)));
    }

    private Map<String, Alias> ownAliases() {
      if (aliases == base.aliases) {
        aliases = new HashMap<>(base.aliases);
      }
      return aliases;
    }

    private Map<String, String> ownSettings() {
      if (settings == base.settings) {
        settings = new HashMap<>(base.settings);
      }
      return settings;
    }

    private Map<String, Pod> ownPods() {
      if (pods == base.pods) {
        pods = new HashMap<>(base.pods);
      }
      return pods;
    }
  }
}
