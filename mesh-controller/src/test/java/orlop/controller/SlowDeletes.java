package orlop.controller;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import orlop.placement.Alias;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Pod;
import orlop.registry.PodSession;
import orlop.registry.Registry;
import orlop.registry.RegistryException;
import orlop.registry.Standing;

/** A registry that deletes a model when the latch opens, or after a second. */
final class SlowDeletes implements Registry {
  private final Registry registry;
  private final CountDownLatch latch;

  SlowDeletes(Registry registry, CountDownLatch latch) {
    this.registry = registry;
    this.latch = latch;
  }

  @Override
  public boolean deleteModel(String modelId) throws RegistryException {
    try {
      var unused = latch.await(1, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    return registry.deleteModel(modelId);
  }

  @Override
  public MeshView view() {
    return registry.view();
  }

  @Override
  public Subscription listen(Consumer<MeshView> listener) {
    return registry.listen(listener);
  }

  @Override
  public Model createModel(Model model) throws RegistryException {
    return registry.createModel(model);
  }

  @Override
  public boolean compareAndSetAlias(String name, @Nullable Alias expected, @Nullable Alias next)
      throws RegistryException {
    return registry.compareAndSetAlias(name, expected, next);
  }

  @Override
  public PodSession join(Pod pod) throws RegistryException {
    return registry.join(pod);
  }

  @Override
  public Subscription campaign(String candidateId, Consumer<Standing> listener) {
    return registry.campaign(candidateId, listener);
  }

  @Override
  public boolean connected() {
    return registry.connected();
  }

  /** The registry stays open. */
  @Override
  public void close() {}
}
