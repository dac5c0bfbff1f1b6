package orlop.registry;

import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import orlop.api.AliasValue;
import orlop.api.CopyValue;
import orlop.api.MemoryValue;
import orlop.api.ModelValue;
import orlop.api.OutlookValue;
import orlop.api.PodValue;
import orlop.placement.Alias;
import orlop.placement.Copy;
import orlop.placement.CopyState;
import orlop.placement.Fault;
import orlop.placement.Memory;
import orlop.placement.Model;
import orlop.placement.Outlook;
import orlop.placement.Pod;

/**
 * The values under the keys: records of {@code orlop.placement} to and from the messages of
 * registry.proto. Equal records make equal bytes. Thread-safe.
 */
final class Values {
  // etcd refuses values over 1.5 MB; a reason is one line for people.
  private static final int MAX_REASON = 4_096;
  private static final int MAX_SHARED = 10_000;

  /** Types and keys that many models have in common; keeps 100,000 models small. */
  private final ConcurrentHashMap<String, String> shared = new ConcurrentHashMap<>();

  /** The bytes are no value that this version can read. */
  static final class Unreadable extends Exception {
    private static final long serialVersionUID = 1L;

    Unreadable(String message, Throwable cause) {
      super(message, cause);
    }

    Unreadable(String message) {
      super(message);
    }
  }

  ByteString encode(Model model) {
    return ModelValue.newBuilder()
        .setType(model.type())
        .setPath(model.path())
        .setKey(model.key())
        .setSizeHintBytes(model.sizeHintBytes())
        .setMinCopies(model.minCopies())
        .setMaxCopies(model.maxCopies())
        .addAllRequiredLabels(sorted(model.requiredLabels()))
        .addAllPreferredLabels(sorted(model.preferredLabels()))
        .setRegisteredMs(model.registeredMs())
        .setPinned(model.pinned())
        .build()
        .toByteString();
  }

  Model model(String id, ByteString bytes) throws Unreadable {
    try {
      ModelValue value = ModelValue.parseFrom(bytes);
      return new Model(
          id,
          share(value.getType()),
          value.getPath(),
          share(value.getKey()),
          value.getSizeHintBytes(),
          value.getMinCopies(),
          value.getMaxCopies(),
          Set.copyOf(value.getRequiredLabelsList()),
          Set.copyOf(value.getPreferredLabelsList()),
          value.getRegisteredMs(),
          value.getPinned());
    } catch (InvalidProtocolBufferException | IllegalArgumentException e) {
      throw new Unreadable(String.valueOf(e.getMessage()), e);
    }
  }

  ByteString encode(Alias alias) {
    return AliasValue.newBuilder()
        .setOwner(alias.owner())
        .setActiveModelId(alias.activeModelId())
        .setTargetModelId(alias.targetModelId())
        .addAllAutoDeleteModelIds(sorted(alias.autoDeleteModelIds()))
        .setFailure(alias.failure())
        .build()
        .toByteString();
  }

  Alias alias(String name, ByteString bytes) throws Unreadable {
    try {
      AliasValue value = AliasValue.parseFrom(bytes);
      return new Alias(
          name,
          value.getOwner(),
          value.getActiveModelId(),
          value.getTargetModelId(),
          Set.copyOf(value.getAutoDeleteModelIdsList()),
          value.getFailure());
    } catch (InvalidProtocolBufferException | IllegalArgumentException e) {
      throw new Unreadable(String.valueOf(e.getMessage()), e);
    }
  }

  ByteString encode(Pod pod) {
    return PodValue.newBuilder()
        .setAddress(pod.address())
        .setZone(pod.zone())
        .addAllLabels(sorted(pod.labels()))
        .setCapacity(encode(pod.capacity()))
        .setUsed(encode(pod.used()))
        .setLoadsQueued(pod.loadsQueued())
        .setOldestUseMs(pod.oldestUseMs())
        .setDraining(pod.draining())
        .setStartedMs(pod.startedMs())
        .setVersion(pod.version())
        .setOutlook(encode(pod.outlook()))
        .build()
        .toByteString();
  }

  Pod pod(String id, ByteString bytes) throws Unreadable {
    try {
      PodValue value = PodValue.parseFrom(bytes);
      return new Pod(
          id,
          value.getAddress(),
          share(value.getZone()),
          Set.copyOf(value.getLabelsList()),
          memory(value.getCapacity()),
          memory(value.getUsed()),
          value.getLoadsQueued(),
          value.getOldestUseMs(),
          value.getDraining(),
          value.getStartedMs(),
          share(value.getVersion()),
          value.hasOutlook() ? outlook(value.getOutlook()) : Outlook.UNKNOWN);
    } catch (InvalidProtocolBufferException | IllegalArgumentException e) {
      throw new Unreadable(String.valueOf(e.getMessage()), e);
    }
  }

  // Sorted, so that equal records make equal bytes.
  private static OutlookValue encode(Outlook outlook) {
    return OutlookValue.newBuilder()
        .setSaidMs(outlook.saidMs())
        .setLoaders(outlook.loaders())
        .setQueuedMs(outlook.queuedMs())
        .setPullBytesPerS(outlook.pullBytesPerS())
        .putAllLoadBytesPerS(new TreeMap<>(outlook.loadBytesPerS()))
        .setEvictionCost(outlook.evictionCost())
        .setDiskSinceMs(outlook.diskSinceMs())
        .build();
  }

  private Outlook outlook(OutlookValue value) {
    Map<String, Long> rates = new HashMap<>();
    for (Map.Entry<String, Long> rate : value.getLoadBytesPerSMap().entrySet()) {
      if (rates.size() < Outlook.MAX_TYPES) {
        rates.put(share(rate.getKey()), rate.getValue());
      }
    }
    return new Outlook(
        value.getSaidMs(),
        value.getLoaders(),
        value.getQueuedMs(),
        value.getPullBytesPerS(),
        rates,
        value.getEvictionCost(),
        value.getDiskSinceMs());
  }

  ByteString encode(Copy copy) {
    CopyValue.Builder value = CopyValue.newBuilder().setSinceMs(copy.sinceMs());
    switch (copy.state()) {
      case CopyState.Loading() -> value.setLoading(CopyValue.Loading.getDefaultInstance());
      case CopyState.Loaded(Memory size, long loadMs) ->
          value.setLoaded(CopyValue.Loaded.newBuilder().setSize(encode(size)).setLoadMs(loadMs));
      case CopyState.FailedToLoad(Fault fault, String reason, long retryAtMs) ->
          value.setFailed(
              CopyValue.FailedToLoad.newBuilder()
                  .setFaultValue(fault.ordinal())
                  .setReason(line(reason))
                  .setRetryAtMs(retryAtMs));
      case CopyState.Unloading() -> value.setUnloading(CopyValue.Unloading.getDefaultInstance());
    }
    return value.build().toByteString();
  }

  Copy copy(String podId, String modelId, ByteString bytes) throws Unreadable {
    try {
      CopyValue value = CopyValue.parseFrom(bytes);
      CopyState state =
          switch (value.getStateCase()) {
            case LOADING -> new CopyState.Loading();
            case LOADED ->
                new CopyState.Loaded(
                    memory(value.getLoaded().getSize()), value.getLoaded().getLoadMs());
            case FAILED ->
                new CopyState.FailedToLoad(
                    fault(value.getFailed().getFaultValue()),
                    value.getFailed().getReason(),
                    value.getFailed().getRetryAtMs());
            case UNLOADING -> new CopyState.Unloading();
            case STATE_NOT_SET ->
                throw new Unreadable("no state, or one this version does not know");
          };
      return new Copy(modelId, share(podId), state, value.getSinceMs());
    } catch (InvalidProtocolBufferException | IllegalArgumentException e) {
      throw new Unreadable(String.valueOf(e.getMessage()), e);
    }
  }

  /** One that this version does not know is read as one that passes. */
  private static Fault fault(int number) {
    Fault[] known = Fault.values();
    return number >= 0 && number < known.length ? known[number] : Fault.TRANSIENT;
  }

  private static String line(String reason) {
    if (reason.length() <= MAX_REASON) {
      return reason;
    }
    int end =
        Character.isHighSurrogate(reason.charAt(MAX_REASON - 1)) ? MAX_REASON - 1 : MAX_REASON;
    return reason.substring(0, end);
  }

  private static MemoryValue encode(Memory memory) {
    return MemoryValue.newBuilder()
        .setRamBytes(memory.ramBytes())
        .setVramBytes(memory.vramBytes())
        .build();
  }

  private static Memory memory(MemoryValue value) {
    return new Memory(value.getRamBytes(), value.getVramBytes());
  }

  private static List<String> sorted(Collection<String> values) {
    return values.stream().sorted().toList();
  }

  private String share(String value) {
    String known = shared.get(value);
    if (known != null) {
      return known;
    }
    if (shared.size() < MAX_SHARED) {
      shared.put(value, value);
    }
    return value;
  }
}
