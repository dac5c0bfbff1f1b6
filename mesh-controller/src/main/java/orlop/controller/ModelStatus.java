package orlop.controller;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import mmesh.ModelStatusInfo;
import mmesh.ModelStatusInfo.ModelCopyInfo;
import mmesh.VModelStatusInfo;
import orlop.placement.Alias;
import orlop.placement.Copy;
import orlop.placement.CopyState;
import orlop.placement.MeshView;

/** What the view says of a model or an alias, in the words of the management interface. Pure. */
final class ModelStatus {
  private ModelStatus() {}

  static ModelStatusInfo of(MeshView view, String modelId) {
    ModelStatusInfo.Builder info = ModelStatusInfo.newBuilder();
    if (view.model(modelId) == null) {
      return info.setStatus(ModelStatusInfo.ModelStatus.NOT_FOUND).build();
    }
    Set<String> errors = new LinkedHashSet<>();
    ModelStatusInfo.ModelStatus best = ModelStatusInfo.ModelStatus.NOT_LOADED;
    List<Copy> newestFirst = new ArrayList<>(view.copies(modelId));
    newestFirst.sort(Comparator.comparingLong(Copy::sinceMs).reversed());
    for (Copy copy : newestFirst) {
      ModelStatusInfo.ModelStatus status = of(copy.state());
      if (rank(status) > rank(best)) {
        best = status;
      }
      if (copy.state() instanceof CopyState.FailedToLoad failed) {
        errors.add(copy.podId() + ": " + failed.reason());
      }
      info.addModelCopyInfos(
          ModelCopyInfo.newBuilder()
              .setLocation(copy.podId())
              .setCopyStatus(status)
              .setTime(copy.sinceMs()));
    }
    return info.setStatus(best).addAllErrors(errors).build();
  }

  static VModelStatusInfo of(MeshView view, Alias alias) {
    return of(view, alias, "");
  }

  /**
   * @param refusal why the target is not even tried; empty when it is
   */
  static VModelStatusInfo of(MeshView view, Alias alias, String refusal) {
    VModelStatusInfo.VModelStatus status =
        !alias.moving()
            ? VModelStatusInfo.VModelStatus.DEFINED
            : alias.failure().isEmpty()
                ? VModelStatusInfo.VModelStatus.TRANSITIONING
                : VModelStatusInfo.VModelStatus.TRANSITION_FAILED;
    VModelStatusInfo.Builder info =
        VModelStatusInfo.newBuilder()
            .setStatus(status)
            .setActiveModelId(alias.activeModelId())
            .setTargetModelId(alias.targetModelId())
            .setOwner(alias.owner())
            .setActiveModelStatus(of(view, alias.activeModelId()));
    if (alias.moving()) {
      ModelStatusInfo.Builder target = of(view, alias.targetModelId()).toBuilder();
      if (alias.failure().isEmpty()
          && refusal.isEmpty()
          && target.getStatus() == ModelStatusInfo.ModelStatus.NOT_LOADED) {
        // The next plan loads it; who polls while something is loading has to go on.
        target.setStatus(ModelStatusInfo.ModelStatus.LOADING);
      }
      info.setTargetModelStatus(target);
      if (!alias.failure().isEmpty()) {
        info.getTargetModelStatusBuilder().addErrors(alias.failure());
      }
    }
    if (!refusal.isEmpty()) {
      (alias.moving() ? info.getTargetModelStatusBuilder() : info.getActiveModelStatusBuilder())
          .addErrors(refusal);
    }
    return info.build();
  }

  private static ModelStatusInfo.ModelStatus of(CopyState state) {
    return switch (state) {
      case CopyState.Loaded l -> ModelStatusInfo.ModelStatus.LOADED;
      case CopyState.Loading l -> ModelStatusInfo.ModelStatus.LOADING;
      case CopyState.FailedToLoad f -> ModelStatusInfo.ModelStatus.LOADING_FAILED;
      case CopyState.Unloading u -> ModelStatusInfo.ModelStatus.NOT_LOADED;
    };
  }

  /** A model is what its best copy is; a failure is shown only when nothing better is known. */
  private static int rank(ModelStatusInfo.ModelStatus status) {
    return switch (status) {
      case LOADED -> 3;
      case LOADING -> 2;
      case LOADING_FAILED -> 1;
      default -> 0;
    };
  }
}
