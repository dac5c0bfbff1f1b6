package orlop.registry;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.KeyValue;
import io.etcd.jetcd.kv.GetResponse;
import io.etcd.jetcd.kv.TxnResponse;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.OptionsUtil;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The keys of one logical ModelMesh service in its etcd, read and never written: {@code
 * <prefix>/registry/<model>} and {@code <prefix>/vmodels/<name>}, or the same with one of 128
 * numbered buckets before the name, as stores with a hierarchy have it. Values are given as they
 * are.
 *
 * <p>Reads page by page at one revision, so what is seen is one moment of the source, and memory is
 * bounded by a page. Blocking; for one thread.
 */
public final class ModelMeshKeyspace implements AutoCloseable {
  /** The most operations that etcd takes in one transaction, and the table's number of buckets. */
  private static final int BUCKETS = 128;

  private static final int HINT_KEYS = 2_000;

  /** The two tables. */
  public enum Table {
    MODELS("registry"),
    VMODELS("vmodels");

    private final String segment;

    Table(String segment) {
      this.segment = segment;
    }
  }

  /**
   * One record.
   *
   * @param key the whole key in etcd
   * @param id the name of the model or vmodel
   * @param value the bytes that stand there, JSON if they are what they should be
   */
  public record Entry(String key, String id, byte[] value) {}

  private final EtcdStore store;
  private final String prefix;
  private final int pageKeys;
  private long revision;

  private ModelMeshKeyspace(EtcdStore store, String prefix, int pageKeys) {
    this.store = store;
    this.prefix = prefix;
    this.pageKeys = pageKeys;
  }

  /**
   * Connects and fixes the moment that will be read.
   *
   * @param config endpoints, user and times; its root and mesh are not used
   * @param prefix all that stands before {@code /registry/}: etcd root prefix, ModelMesh's own
   *     prefix and the service name
   * @throws RegistryException when etcd does not answer or holds no such key space; names those
   *     that it found below the prefix
   */
  public static ModelMeshKeyspace open(RegistryConfig config, String prefix)
      throws RegistryException {
    String bare = prefix.endsWith("/") ? prefix.substring(0, prefix.length() - 1) : prefix;
    EtcdStore store = new EtcdStore(config);
    ModelMeshKeyspace space = new ModelMeshKeyspace(store, bare, config.pageKeys());
    try {
      store.awaitReachable();
      space.check();
      return space;
    } catch (RegistryException e) {
      store.close();
      throw e;
    }
  }

  private void check() throws RegistryException {
    long found = 0;
    for (Table table : Table.values()) {
      GetResponse answer =
          get("count the " + table.segment, start(table), below(table).withCountOnly(true));
      revision = answer.getHeader().getRevision();
      found += answer.getCount();
    }
    if (found == 0) {
      TreeSet<String> others = others();
      throw new RegistryException(
          "etcd at %s holds no key under '%s/registry/' or '%s/vmodels/'%s"
              .formatted(
                  store.config().endpoints(),
                  prefix,
                  prefix,
                  others.isEmpty() ? "" : "; key spaces below that prefix: " + others),
          null);
    }
  }

  /** What stands before a table of ModelMesh among the first keys that begin with the prefix. */
  private TreeSet<String> others() throws RegistryException {
    TreeSet<String> found = new TreeSet<>();
    ByteSequence from = EtcdStore.bytes(prefix.isEmpty() ? "/" : prefix);
    GetOption.Builder option =
        GetOption.builder()
            .withKeysOnly(true)
            .withLimit(HINT_KEYS)
            .withRange(OptionsUtil.prefixEndOf(from));
    for (KeyValue kv : get("look for key spaces", from, option).getKvs()) {
      String key = kv.getKey().toString(StandardCharsets.UTF_8);
      for (String table : List.of("/registry/", "/vmodels/", "/instances/")) {
        int at = key.indexOf(table);
        if (at > 0) {
          found.add(key.substring(0, at));
        }
      }
    }
    return found;
  }

  /** The revision of etcd's store that is read. */
  public long revision() {
    return revision;
  }

  /** How many records the table holds at that revision. */
  public long count(Table table) throws RegistryException {
    return get(
            "count the " + table.segment,
            start(table),
            below(table).withCountOnly(true).withRevision(revision))
        .getCount();
  }

  /** Hands over every record of a table in the order of the keys. */
  public void read(Table table, Consumer<Entry> each) throws RegistryException {
    boolean bucketed = isBucketed(table);
    ByteSequence next = start(table);
    int limit = pageKeys;
    while (true) {
      GetResponse page;
      try {
        page =
            get(
                "read the " + table.segment,
                next,
                below(table).withLimit(limit).withRevision(revision));
      } catch (RegistryException e) {
        if (EtcdStore.isTooLarge(e.getCause()) && limit > 1) {
          limit = Math.max(1, limit / 8);
          continue;
        }
        if (EtcdStore.isCompacted(e.getCause())) {
          // The source has forgotten that moment; the rest is read as it is now.
          revision =
              get("read on", next, below(table).withCountOnly(true)).getHeader().getRevision();
          continue;
        }
        throw e;
      }
      for (KeyValue kv : page.getKvs()) {
        each.accept(entry(table, kv, bucketed));
      }
      if (!page.isMore() || page.getKvs().isEmpty()) {
        return;
      }
      next = page.getKvs().getLast().getKey().concat(ByteSequence.from(new byte[1]));
    }
  }

  /** One record by its name, or null. */
  public @Nullable Entry find(Table table, String id) throws RegistryException {
    String root = root(table);
    if (!isBucketed(table)) {
      List<KeyValue> found =
          get(
                  "read " + table.segment + " '" + id + "'",
                  EtcdStore.bytes(root + id),
                  GetOption.builder().withRevision(revision))
              .getKvs();
      return found.isEmpty() ? null : entry(table, found.getFirst(), false);
    }
    Op[] gets = new Op[BUCKETS];
    for (int bucket = 0; bucket < BUCKETS; bucket++) {
      gets[bucket] =
          Op.get(
              EtcdStore.bytes(root + bucket + "/" + id),
              GetOption.builder().withRevision(revision).build());
    }
    TxnResponse answer =
        store.read(
            "read " + table.segment + " '" + id + "'",
            c -> c.getKVClient().txn().Then(gets).commit());
    for (GetResponse one : answer.getGetResponses()) {
      if (!one.getKvs().isEmpty()) {
        return entry(table, one.getKvs().getFirst(), true);
      }
    }
    return null;
  }

  /** Buckets sort between "0/" and "99/": the outermost keys tell whether all have one. */
  private boolean isBucketed(Table table) throws RegistryException {
    List<GetOption.Builder> ends = new ArrayList<>();
    ends.add(below(table));
    ends.add(
        below(table)
            .withSortField(GetOption.SortTarget.KEY)
            .withSortOrder(GetOption.SortOrder.DESCEND));
    int bucketed = 0;
    for (GetOption.Builder end : ends) {
      List<KeyValue> found =
          get(
                  "see how the " + table.segment + " are laid out",
                  start(table),
                  end.withLimit(1).withKeysOnly(true).withRevision(revision))
              .getKvs();
      if (!found.isEmpty() && afterBucket(tail(table, found.getFirst())) >= 0) {
        bucketed++;
      }
    }
    return bucketed == ends.size();
  }

  /** Where the name begins behind a bucket's number; -1 without one. */
  private static int afterBucket(String tail) {
    int slash = tail.indexOf('/');
    if (slash < 1 || slash > 3 || !tail.substring(0, slash).chars().allMatch(Character::isDigit)) {
      return -1;
    }
    return Integer.parseInt(tail.substring(0, slash)) < BUCKETS ? slash + 1 : -1;
  }

  private Entry entry(Table table, KeyValue kv, boolean bucketed) {
    String tail = tail(table, kv);
    int name = bucketed ? Math.max(0, afterBucket(tail)) : 0;
    return new Entry(text(kv.getKey()), tail.substring(name), kv.getValue().getBytes());
  }

  private String tail(Table table, KeyValue kv) {
    return text(kv.getKey()).substring(root(table).length());
  }

  private String root(Table table) {
    return prefix + "/" + table.segment + "/";
  }

  private ByteSequence start(Table table) {
    return EtcdStore.bytes(root(table));
  }

  private GetOption.Builder below(Table table) {
    return GetOption.builder().withRange(OptionsUtil.prefixEndOf(start(table)));
  }

  private static String text(ByteSequence bytes) {
    return bytes.toString(StandardCharsets.UTF_8);
  }

  private GetResponse get(String what, ByteSequence key, GetOption.Builder option)
      throws RegistryException {
    return store.read(what, c -> c.getKVClient().get(key, option.build()));
  }

  @Override
  public void close() {
    store.close();
  }
}
