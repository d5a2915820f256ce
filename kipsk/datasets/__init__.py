"""Images as rows: the sets that distillation is measured on, and folders of your own."""

from kipsk.datasets._folders import Folder, load_folder, to_images
from kipsk.datasets._published import Images, load_images

__all__ = ["Folder", "Images", "load_folder", "load_images", "to_images"]
