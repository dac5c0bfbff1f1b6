package orlop.registry;

import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import orlop.placement.Alias;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Pod;

/**
 * What the mesh knows: a view that follows the store, and the writes that each party may make.
 *
 * <p>Thread-safe. Writes block (run them on a virtual thread) and fail within the configured
 * timeout with {@link RegistryException}; reads come from memory and never fail. While the store is
 * out of reach the last view stays.
 */
public interface Registry extends AutoCloseable {
  /** The current view. One volatile read. */
  MeshView view();

  /**
   * Calls {@code listener} with each new view, in order, on the registry's own thread; it must not
   * block. Called once with the current view before this returns. Close the result to stop.
   */
  Subscription listen(Consumer<MeshView> listener);

  /**
   * Creates the model unless one of that id exists.
   *
   * @return the model that stands under the id now: {@code model} itself when created, else the
   *     older one
   */
  Model createModel(Model model) throws RegistryException;

  /**
   * Deletes the model; its pods see it and let their copies go.
   *
   * @return whether it existed
   */
  boolean deleteModel(String modelId) throws RegistryException;

  /**
   * Replaces an alias if it is still as the caller believes.
   *
   * @param expected null: it must not exist
   * @param next null: delete it
   * @return whether it was replaced
   */
  boolean compareAndSetAlias(String name, @Nullable Alias expected, @Nullable Alias next)
      throws RegistryException;

  /**
   * Joins the mesh as a pod: its keys live under a lease of their own and vanish with it. A lost
   * lease is taken anew and everything published is written again.
   *
   * @throws RegistryException also when a pod of that id is there already, at another address: at
   *     once where it is certain that it lives, else after the time of a lease
   */
  PodSession join(Pod pod) throws RegistryException;

  /**
   * Takes part in the election of the one planner. {@code listener} hears of this candidate's place
   * when it changes, on the registry's own thread: that it leads, and that it no longer may act,
   * before another leads. A place that was overtaken before it could be told may be left out; the
   * last one never is. Who is next leads when the leader ends, and nobody else.
   *
   * @param candidateId unique in the mesh
   */
  Subscription campaign(String candidateId, Consumer<Standing> listener);

  /** Whether the store answered lately; writes are likely to succeed. */
  boolean connected();

  @Override
  void close();

  /** Ends what it was returned for. Idempotent. */
  interface Subscription extends AutoCloseable {
    @Override
    void close();
  }
}
